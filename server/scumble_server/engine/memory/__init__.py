"""How models lie in memory while a job runs: the ladder of :mod:`scumble_server.memory.plan`, done."""
