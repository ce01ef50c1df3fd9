"""``python -m recipes.infra.wheels``: builds the wheel, or tries it in empty environments.

``check`` makes two of them. In the first is the wheel alone: the command answers, the client asks a
server, and torch is not there. In the second is its extra ``serve``: the demo runs from data to
report. Libraries come from the package index, in the versions of ``constraints.txt``.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from recipes.infra.outcomes import ROOT, Failed, said_by
from recipes.infra.supply import CONSTRAINTS, build, copy_sources
from recipes.infra.tools import installed

TORCH = next(
    each for each in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if "torch==" in each
)
"""Asked for by its version, so that no other build is looked at."""

DEMO_S = 1800.0
"""Seconds that the demo gets: it tunes a model, and takes minutes on two idle cores."""

LIGHT = """
import sys
import glassbox
from glassbox import Client

with Client(sys.argv[1]) as client:
    assert [each.id for each in client.models()] == ["tiny"], client.models()
heavy = {"torch", "transformers", "fastapi", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
try:
    import torch
except ModuleNotFoundError:
    print("the client asks a server; torch is not installed")
else:
    raise SystemExit("torch came with the base wheel")
"""
"""What a program does with the base wheel."""


class _Models(BaseHTTPRequestHandler):
    """A server that knows its models and nothing else."""

    def do_GET(self) -> None:
        facts = {"kind": "base", "digest": "0" * 64}
        tiny = {"id": "tiny", "created": 0, "glassbox": facts}
        body = json.dumps({"object": "list", "data": [tiny]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


def built(out: Path) -> Path:
    """Return the wheel, made in ``out`` from the files that belong to it."""
    programs = installed("supply")
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="glassbox-wheel-") as text:
        copy_sources(Path(text) / "sources")
        return build(programs, Path(text) / "sources", out.resolve())


def environment(folder: Path, wheel: Path, extras: str = "") -> Path:
    """Return the programs of a new environment with the wheel in it and nothing of this one."""
    said_by([sys.executable, "-m", "venv", folder])
    wanted = [f"{wheel}[{extras}]", TORCH] if extras else [str(wheel)]
    command = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    said_by([*command, "--constraint", CONSTRAINTS, *wanted], folder=folder)
    return folder / "bin"


def check_base(folder: Path, wheel: Path) -> str:
    """Return what the base wheel showed."""
    programs = environment(folder, wheel)
    began = time.monotonic()
    said = said_by([programs / "glassbox", "--help"], folder=folder)
    wall_s = time.monotonic() - began
    if "serve" not in said:
        raise Failed(said)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Models)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        shown = said_by([programs / "python", "-c", LIGHT, address], folder=folder)
    finally:
        server.shutdown()
    missing = said_by([programs / "glassbox", "demo"], folder=folder, allowed=range(1, 128))
    if "pip install" not in missing or "Traceback" in missing:
        raise Failed(f"the base wheel does not say what the demo needs:\n{missing}")
    return f"--help in {wall_s:.1f} s; {shown.strip()}"


def check_serve(folder: Path, wheel: Path) -> str:
    """Return what the demo left, with the model side installed."""
    programs = environment(folder, wheel, "serve")
    clean = {name: "" for name in os.environ if name.startswith("GLASSBOX_")}
    began = time.monotonic()
    said = said_by(
        [programs / "glassbox", "demo"],
        folder=folder,
        environment={**clean, "HF_HUB_OFFLINE": "1"},
        limit_s=DEMO_S,
    )
    reports = list(folder.glob("runs/*/report.html"))
    if not reports:
        raise Failed(said)
    return f"the demo in {time.monotonic() - began:.0f} s: {reports[0].relative_to(folder)}"


def main() -> int:
    """Return 1 if the wheel does not do what it should, else 0."""
    parser = argparse.ArgumentParser(prog="python -m recipes.infra.wheels", description=__doc__)
    parser.add_argument("what", choices=["build", "check"])
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "dist")
    words = parser.parse_args()
    if words.what == "build":
        print(built(words.out))
        return 0
    with TemporaryDirectory(prefix="glassbox-wheels-") as text:
        folder = Path(text)
        try:
            wheel = built(folder / "dist")
            print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
            print(f"base wheel: {check_base(folder / 'base', wheel)}")
            print(f"extra serve: {check_serve(folder / 'serve', wheel)}")
        except (Failed, subprocess.SubprocessError) as error:
            print(f"FAILED\n{error}", file=sys.stderr)
            return 1
        finally:
            shutil.rmtree(folder / "serve", ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
