"""Queue, tensor store and the worker process: everything between a validated job and the engine that does it."""
