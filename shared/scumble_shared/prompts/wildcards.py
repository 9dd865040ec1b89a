"""Choices in a prompt, made by the seed: the same seed chooses the same words, on every machine.

    {red|green|blue}        one of them; an empty one may be among them
    {3::red|green}          red three times as often
    {2$$red|green|blue}     two different ones, joined by ", "; {2$$ and $$...} by " and "; {1-3$$...} one to three
    __color__               a line of the file color.txt; __trees/*__ of all files in the folder trees
    \\{  \\}  \\__            as they are

They nest, in files too. Braces without their partner and everything else stay as they are: weights ``(word:1.2)``,
A1111's ``[a:b:0.5]`` and ``<lora:...>``. This is the common part of A1111's extensions for dynamic prompts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence

from ..errors import ErrorCode, Remedy, ScumbleError

__all__ = ["Lookup", "escaped", "expand", "has_choices"]

Lookup = Callable[[str], Sequence[str]]
"""Name of a wildcard -> its lines. Raises ScumbleError for one that isn't there."""

DEPTH = 16
CHOICES = 2000
"""Most choices within one another, and in one prompt."""

NAME = re.compile(r"__([\w*][\w\-./ *]*?)__")
COUNT = re.compile(r"(\d+)(?:-(\d+))?\$\$")
WEIGHT = re.compile(r"\s*(\d+(?:\.\d+)?)::")
JOINT = ", "


def has_choices(text: str) -> bool:
    """Whether the seed has a say in what ``text`` becomes."""
    plain = text.replace("\\{", "").replace("\\__", "")
    return re.search(r"\{[^{}]*\}", plain) is not None or NAME.search(plain) is not None


def escaped(text: str) -> str:
    """What :func:`expand` makes ``text`` of."""
    return text.replace("{", "\\{").replace("}", "\\}").replace("__", "\\__")


def expand(text: str, seed: int, lookup: Lookup) -> str:
    """``text`` with all choices made. Raises ScumbleError INVALID_FIELD (field "prompt") for wildcards that lead round
    in a circle or to more than can be meant, and what ``lookup`` raises."""
    return _Expansion(seed, lookup).text(text, 0)


class _Expansion:
    """The choices of one prompt, in the order they are met."""

    def __init__(self, seed: int, lookup: Lookup) -> None:
        self._seed, self._lookup, self._made = seed, lookup, 0

    def text(self, text: str, depth: int) -> str:
        if depth > DEPTH:
            raise _refused("wildcards lead round in a circle, or more than 16 deep")
        done: list[str] = []
        at = 0
        while at < len(text):
            if text.startswith(("\\{", "\\}"), at):
                done.append(text[at + 1])
                at += 2
            elif text.startswith("\\__", at):
                done.append("__")
                at += 3
            elif text[at] == "{" and (end := _closing(text, at)) > 0:
                done.append(self._choice(text[at + 1 : end], depth))
                at = end + 1
            elif match := NAME.match(text, at):
                done.append(self._line(match[1], depth))
                at = match.end()
            else:
                done.append(text[at])
                at += 1
        return "".join(done)

    def _line(self, name: str, depth: int) -> str:
        lines = self._lookup(name)
        if not lines:
            raise _refused(f"the wildcard {name} has no lines")
        return self.text(self._one([(line, 1.0) for line in lines]), depth + 1)

    def _choice(self, inside: str, depth: int) -> str:
        least, most, joint, rest = _count_of(inside)
        options = [_weighted(option) for option in _split(rest)]
        wanted = least + (self._number(most - least + 1) if most > least else 0)
        chosen: list[str] = []
        while options and len(chosen) < wanted:
            option = self._one(options)
            options = _without(options, option)
            chosen.append(self.text(option, depth + 1))
        return joint.join(chosen)

    def _one(self, options: Sequence[tuple[str, float]]) -> str:
        total = sum(weight for _, weight in options)
        if total <= 0.0:
            return options[self._number(len(options))][0]
        mark = self._fraction() * total
        for text, weight in options:
            mark -= weight
            if mark < 0.0:
                return text
        return options[-1][0]

    def _number(self, count: int) -> int:
        return min(int(self._fraction() * count), count - 1)

    def _fraction(self) -> float:
        """In [0, 1), by the seed and how many choices came before; hashed, so that no version of Python matters."""
        self._made += 1
        if self._made > CHOICES:
            raise _refused(f"the prompt has more than {CHOICES} choices")
        digest = hashlib.sha256(f"{self._seed}/{self._made}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48


def _closing(text: str, opening: int) -> int:
    """Index of the brace that closes the one at ``opening``; -1 without one."""
    depth = 0
    at = opening
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at
        at += 1
    return -1


def _split(text: str) -> list[str]:
    """At the bars that aren't inside other braces."""
    parts, depth, begin, at = list[str](), 0, 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        depth += (text[at] == "{") - (text[at] == "}")
        if text[at] == "|" and depth == 0:
            parts.append(text[begin:at])
            begin = at + 1
        at += 1
    return [*parts, text[begin:]]


def _count_of(inside: str) -> tuple[int, int, str, str]:
    """How many at least and at most, what joins them, and the options."""
    match = COUNT.match(inside)
    if match is None:
        return 1, 1, JOINT, inside
    least = int(match[1])
    most = int(match[2]) if match[2] else least
    rest = inside[match.end() :]
    joint, mark, options = rest.partition("$$")
    if mark and "|" not in joint and "{" not in joint:
        return least, max(least, most), joint, options
    return least, max(least, most), JOINT, rest


def _weighted(option: str) -> tuple[str, float]:
    match = WEIGHT.match(option)
    return (option[match.end() :], float(match[1])) if match else (option, 1.0)


def _without(options: list[tuple[str, float]], text: str) -> list[tuple[str, float]]:
    index = next(index for index, option in enumerate(options) if option[0] == text)
    return options[:index] + options[index + 1 :]


def _refused(message: str) -> ScumbleError:
    return ScumbleError(ErrorCode.INVALID_FIELD, message, field="prompt", remedy=Remedy("Shorten the prompt's choices"))
