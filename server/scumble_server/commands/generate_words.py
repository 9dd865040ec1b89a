"""The words of ``scumble generate``: prompt, styles and wildcards, and settings taken from a picture."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from scumble_shared.errors import ErrorCode, Remedy, ScumbleError
from scumble_shared.job import GenerateJob
from scumble_shared.metadata import ImageSettings, read_settings
from scumble_shared.prompts import (
    Style,
    WildcardFolder,
    apply_styles,
    default_styles_file,
    default_wildcard_folder,
    escaped,
    has_choices,
    read_style_file,
    with_final_words,
)

from ..buffers.files import refused

__all__ = ["Words", "add_word_arguments", "settings_from", "words_of"]


@dataclass(frozen=True, slots=True)
class Words:
    """What was written, styles included; choices aren't made yet. styles: for prompts of parts of the picture."""

    prompt: str
    negative_prompt: str
    wildcards: WildcardFolder
    styles: tuple[Style, ...] = ()

    def of(self, job: GenerateJob) -> GenerateJob:
        """See :func:`scumble_shared.prompts.with_final_words`."""
        return with_final_words(job, self.wildcards)

    def have_choices_in(self, job: GenerateJob) -> bool:
        """Whether the seed has a say in the words of ``job``, as they were written."""
        prompts = (job.prompt, job.negative_prompt, *(region.prompt for region in job.regions))
        return any(has_choices(prompt) for prompt in prompts)


def add_word_arguments(parser: argparse.ArgumentParser) -> None:
    words = parser.add_argument_group("words")
    words.add_argument("--prompt", help="with {a|b} and __wildcard__ the seed chooses; needed without --like")
    words.add_argument("--negative-prompt", metavar="TEXT")
    words.add_argument("--style", action="append", default=[], metavar="NAME", help="may be repeated")
    words.add_argument("--styles", type=Path, metavar="CSV", help=f"default: {default_styles_file()}")
    words.add_argument("--wildcards", type=Path, metavar="DIR", help=f"default: {default_wildcard_folder()}")
    words.add_argument("--like", type=Path, metavar="PNG", help="take what isn't said from a picture that says it")


def settings_from(arguments: argparse.Namespace) -> tuple[ImageSettings | None, GenerateJob | None]:
    """What the picture of ``--like`` says, and the job that made it. Raises ScumbleError."""
    if arguments.like is None:
        return None, None
    found = read_settings(arguments.like)
    return found, found.single()


def words_of(arguments: argparse.Namespace, like: GenerateJob | None) -> Words:
    """Raises ScumbleError INVALID_FIELD for a style that nobody knows, or no prompt at all."""
    prompt, negative_prompt = arguments.prompt, arguments.negative_prompt
    if prompt is None and like is None:
        raise refused("prompt", "say --prompt, or --like a picture that has one")
    prompt = escaped(like.prompt) if prompt is None and like is not None else prompt or ""
    if negative_prompt is None:
        negative_prompt = escaped(like.negative_prompt) if like is not None else ""
    known = {style.name: style for style in read_style_file(arguments.styles or default_styles_file())}
    styles = tuple(_style(name, known) for name in arguments.style)
    prompt, negative_prompt = apply_styles(prompt, negative_prompt, styles)
    return Words(prompt, negative_prompt, WildcardFolder(arguments.wildcards or default_wildcard_folder()), styles)


def _style(name: str, known: dict[str, Style]) -> Style:
    if name in known:
        return known[name]
    message = f"there is no style {name!r}; there are {', '.join(known) or 'none'}"
    raise ScumbleError(ErrorCode.INVALID_FIELD, message, field="style", remedy=Remedy("Name one of them, or --styles"))
