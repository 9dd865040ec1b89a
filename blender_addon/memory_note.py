"""What the server did because memory was short, for the artist. Knows nothing of Blender."""

from __future__ import annotations

import json

__all__ = ["memory_note"]


def memory_note(provenance: str) -> str:
    """One sentence, "" where nothing was done. provenance: of a result, JSON text; whatever a server may write."""
    try:
        memory = json.loads(provenance)["memory"]
        done, told = str(memory["done"]), [str(one) for one in memory["told"]]
    except (ValueError, KeyError, TypeError):
        return ""
    if not told:
        return f"To save memory: {done}" if done else ""
    if done and any(done in one for one in told):
        return f"Memory ran out; so: {done}"
    return "; ".join(one[:1].upper() + one[1:] for one in told)
