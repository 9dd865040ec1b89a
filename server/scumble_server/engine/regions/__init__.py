"""Prompts for parts of a picture: where they are (masks, places), and how a network is told of several at once.

UNets and their ControlNets attend to each prompt where it is (coupling). Transformers, in which words and picture are
one, and the starter model are asked once for each prompt, and what they say is mixed (mixing). Either way the shares
of all prompts, the picture's own first, sum to one at each place.
"""

from __future__ import annotations

from .engaged import engaged
from .places import Regional, regions_of_picture, regions_of_views
from .texts import texts_for

__all__ = ["Regional", "engaged", "regions_of_picture", "regions_of_views", "texts_for"]
