"""``scumble doctor``: what device, memory, models and problems there are, and the remedy for each."""

from __future__ import annotations

import argparse
import json
import textwrap
from dataclasses import asdict
from pathlib import Path

from ..engines.choose import ENGINES
from ..health.engines import engine_findings
from ..health.finding import Finding, Level
from ..health.hardware import device_findings, disk_finding, memory_finding
from ..health.memory import memory_plan_findings
from ..health.packages import package_findings, python_finding
from ..health.surroundings import blender_finding, model_findings, server_findings

__all__ = ["add_arguments", "run"]

MARKS = {Level.OK: "ok", Level.NOTE: "  ", Level.WARNING: "! ", Level.PROBLEM: "X "}
WIDTH = 110


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for machines, or for a bug report")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu (default auto)")
    parser.add_argument("--models", type=Path, action="append", metavar="DIR", help="model folders, not the usual")
    parser.add_argument("--engine", default="own", choices=("own", *ENGINES), help="who is to paint (default: own)")
    parser.add_argument("--engine-url", default="", metavar="URL", help="where it is; default: the usual address")


def run(arguments: argparse.Namespace) -> int:
    """Returns 1 if something keeps this machine from generating, else 0."""
    folders = None if arguments.models is None else tuple(arguments.models)
    findings = examine(arguments.device, folders, arguments.engine, arguments.engine_url)
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    if arguments.json:
        print(json.dumps({"ok": problems == 0, "findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        print(text_of(findings))
    return int(problems > 0)


def examine(
    device: str = "auto", model_dirs: tuple[Path, ...] | None = None, engine: str = "own", engine_url: str = ""
) -> list[Finding]:
    return [
        python_finding(),
        *package_findings(),
        *device_findings(device),
        memory_finding(),
        disk_finding(),
        *model_findings(model_dirs),
        *memory_plan_findings(device, model_dirs),
        *engine_findings(engine, engine_url),
        *server_findings(),
        blender_finding(),
    ]


def text_of(findings: list[Finding]) -> str:
    """For a terminal: a line or more per finding, remedies indented, the verdict last."""
    lines = []
    for finding in findings:
        head = f"{MARKS[finding.level]} {finding.topic:<12}"
        lines += _wrapped(head, finding.text)
        if finding.remedy:
            lines += _wrapped(f"{'':<15}-> ", finding.remedy)
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if problems:
        verdict = f"{_count(problems, 'problem')} to solve before anything can be generated (marked X)."
    else:
        verdict = "Ready to generate" + (f"; {_count(warnings, 'warning')} (marked !)." if warnings else ".")
    return "\n".join([*lines, "", verdict])


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False
    ) or [head]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
