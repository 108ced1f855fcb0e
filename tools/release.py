"""Make the files of a release, and try them: `make release REPOSITORY=https://github.com/OWNER/NAME`.

The address of the repository is where links of the package's page must lead. It is asked for, because this checkout
does not know it. From the last commit, in a folder of its own, this script

1. writes the address into `[project.urls]`, and whole addresses in the place of the README's links and images,
2. builds the sdist and the wheel into `dist/`, and has twine check them,
3. installs the wheel into a new environment, where `pip check` and a search on embedded data must succeed.

Nothing is uploaded: the last lines say how.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
SEARCH = "grid digits --batch-sizes 32,128 --epochs 2 --seeds 2"
_LINK = re.compile(r"(!?)(\[[^\]]*\])\(([^)\s:]+)\)")


def main() -> int:
    """Read the command line, and make the release."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("repository", help="such as https://github.com/OWNER/NAME")
    repository = parser.parse_args().repository.rstrip("/")
    if not re.fullmatch(r"https://[\w.-]+\.\w+/\S+", repository):
        parser.error(f"the repository must be an https address; got {repository!r}")
    version = version_of(ROOT)
    if _output("git", "status", "--porcelain"):
        parser.error("everything must be committed, since the release is made of the last commit")
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder, "staged")
        stage(staged, repository, version)
        _run(sys.executable, "-m", "build", "--outdir", DIST, staged)
        made = sorted(DIST.glob(f"batch_size_tuner-{version}[.-]*"))
        _run(sys.executable, "-m", "twine", "check", "--strict", *made)
        try_out(next(path for path in made if path.suffix == ".whl"), Path(folder))
    print(f"\nThe release is in dist/. To publish it:\n  git tag v{version} && git push origin v{version}")
    print(f"  python -m twine upload {' '.join(str(path.relative_to(ROOT)) for path in made)}")
    return 0


def version_of(root: Path) -> str:
    """Return the version of the package.

    Raises:
        ValueError: If pyproject.toml, the citation and the changelog do not name the same one.
    """
    version = str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])
    citation = re.search(r"^version: (\S+)$", (root / "CITATION.cff").read_text(), re.MULTILINE)
    change = re.search(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    told = [version, citation and citation[1], change and change[1]]
    if len(set(told)) > 1:
        raise ValueError(f"pyproject.toml, CITATION.cff and CHANGELOG.md must name one version; got {told}.")
    return version


def stage(place: Path, repository: str, version: str) -> None:
    """Put the last commit into a folder, with addresses."""
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(place, filter="data")
    readme, project = place / "README.md", place / "pyproject.toml"
    readme.write_text(with_addresses(readme.read_text(), repository, version))
    project.write_text(project.read_text() + urls(repository, version))


def with_addresses(readme: str, repository: str, version: str) -> str:
    """Return a README whose links to files are whole addresses of a tag, as GitHub spells them."""
    kinds = {"": "blob", "!": "raw"}
    return _LINK.sub(lambda m: f"{m[1]}{m[2]}({repository}/{kinds[m[1]]}/v{version}/{m[3]})", readme)


def urls(repository: str, version: str) -> str:
    """Return the lines of pyproject.toml that name the project's addresses."""
    docs, changes = (f"{repository}/blob/v{version}/{page}" for page in ("docs/index.md", "CHANGELOG.md"))
    named = {"Homepage": repository, "Documentation": docs, "Changelog": changes, "Issues": f"{repository}/issues"}
    return "\n[project.urls]\n" + "".join(f'{name} = "{address}"\n' for name, address in named.items())


def try_out(wheel: Path, folder: Path) -> None:
    """Install a wheel into a new environment, and search with it in an empty directory."""
    clean, desk = folder / "clean", folder / "desk"
    desk.mkdir()
    _run(sys.executable, "-m", "venv", clean)
    _run(clean / "bin" / "python", "-m", "pip", "install", "--quiet", wheel)
    _run(clean / "bin" / "python", "-m", "pip", "check")
    _run(clean / "bin" / "batch-size", *SEARCH.split(), at=desk)


def _run(*words: str | Path, at: Path = ROOT) -> None:
    print("$", *words, flush=True)
    subprocess.run(words, cwd=at, check=True)


def _output(*words: str) -> str:
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
