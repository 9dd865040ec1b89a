"""What somebody who asks for a model means: an id of the catalogue, a set, a repository or an address."""

from __future__ import annotations

import re

from .catalogue import SETS, entry_of, set_of
from .download import Plan, plan_entry, plan_repository, plan_url
from .library import Library
from .transfer import TransferHooks
from .transfer_http import Network

__all__ = ["plans_for"]


def plans_for(
    target: str,
    library: Library,
    network: Network,
    hooks: TransferHooks,
    *,
    files: tuple[str, ...] = (),
    revision: str = "main",
    newest: bool = False,
    sha256: str = "",
    model_id: str = "",
) -> list[Plan]:
    """Tried in this order: address, repository, starter set, catalogue. Asks the hub about repositories.

    Raises ScumbleError as the functions of :mod:`.download` do.
    """
    if re.match(r"[a-z]+://", target):
        return [plan_url(target, model_id=model_id, sha256=sha256)]
    if "/" in target:
        return [plan_repository(target, network, hooks, revision=revision, files=files, model_id=model_id)]
    entries = set_of(target) if target in [item.id for item in SETS] else (entry_of(target),)
    return [plan_entry(entry, library, network, hooks, newest=newest) for entry in entries]
