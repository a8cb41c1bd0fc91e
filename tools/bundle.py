"""The course as one zip file, for a room without network: all files, the sample data, the pages to read. No wheels.

python tools/bundle.py                     # build/dirl-course.zip
python tools/bundle.py --student           # build/dirl-course-student.zip: notebooks without solutions and outputs

The student zip leaves out what gives answers away: the tests, which know wrong ones, the plan for teachers, which lists
slips, and the pages, whose outputs answer the questions to predict.

python tools/bundle.py --out DIR/my.zip

START.txt in the zip says how to make the folder of wheels, and how to install from it. The same commit and the same
sample data give the same bytes. Needs the git checkout: what git does not list, does not get in.
"""

import argparse
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from course import pages
from course.notebooks import NOTEBOOKS, QUICK_TIME, ROOT, CourseError, notebook_paths, read, title_block, written
from nbformat import NotebookNode
from student import for_students, refuse_copies

from dirl_lib.data.sample import sample_root
from dirl_lib.files import write_in_one_step

FOLDER = "dirl-course"
"""Everything lies below it, so that unpacking does not litter."""

START = """\
Find what does not belong: the course on DIRL, commit {commit}

{to_read}TO WORK, without a network, you need Python 3.11 or newer and a folder of wheels.

1. Beforehand, on a machine with a network and with the SAME system and Python version as in the room, in this folder:

     python3 -m pip download -d wheels -c constraints.txt ".[course]" "setuptools>=77"

   On Linux that is some gigabytes, nearly all of it PyTorch for NVIDIA GPUs. Carry this folder, wheels included, on a
   stick; every laptop of that system and Python can use it.

2. In the room, in this folder (Windows: .venv\\Scripts\\python in place of .venv/bin/python):

     python3 -m venv .venv
     .venv/bin/python -m pip install --no-index --find-links wheels -c constraints.txt -e ".[course]"
     .venv/bin/python -m jupyter lab --ServerApp.root_dir=. notebooks/00_start_here.ipynb

Nothing else is fetched: the trained networks lie in dirl_lib/trained, the sample data in data/sample, and every
notebook runs in its quick profile on the processor alone.{for_teachers}
"""

TO_READ = """\
TO READ, without Python: open pages/index.html in a browser.

"""
FOR_TEACHERS = " For teachers: docs/TEACHING.md."

NOT_FOR_STUDENTS = ("tests/", "docs/TEACHING.md")


def main(arguments: list[str] | None = None) -> int:
    """Write the zip; 0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", action="store_true", help="notebooks without solutions and outputs")
    out_help = "(default: build/dirl-course.zip, or build/dirl-course-student.zip)"
    parser.add_argument("--out", type=Path, metavar="ZIP", help=out_help)
    options = parser.parse_args(arguments)
    # Two names, so that the one with solutions is not carried to class by mistake.
    out = options.out or ROOT / "build" / ("dirl-course-student.zip" if options.student else "dirl-course.zip")
    try:
        content = packed(files(student=options.student))
        out.parent.mkdir(parents=True, exist_ok=True)
        write_in_one_step(out, content)
    except (CourseError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{out}: {len(content) / 1e6:.0f} MB, without wheels (see START.txt in it)")
    return 0


def files(*, student: bool) -> dict[str, bytes]:
    """What the zip holds, by name: the checkout, the sample data, START.txt, and the pages unless it is for students.

    Raises:
        CourseError: this is no git checkout, or a notebook is not one of the course, or a copy without solutions.
    """
    notebooks = {path: read(path) for path in notebook_paths()}
    refuse_copies(notebooks)
    left_out = NOT_FOR_STUDENTS if student else ()
    kept = [name for name in _git("ls-files", "-z").split("\0") if name and not name.startswith(left_out)]
    result = {name: (ROOT / name).read_bytes() for name in kept}
    sample = sample_root()
    result |= {
        f"data/sample/{path.relative_to(sample).as_posix()}": path.read_bytes()
        for path in sample.rglob("*")
        if path.is_file()
    }
    if student:
        result |= {
            f"{NOTEBOOKS.name}/{path.name}": written(for_students(notebook)) for path, notebook in notebooks.items()
        }
    else:
        result |= {f"pages/{name}": text.encode() for name, text in _pages(notebooks)}
    start = START.format(
        commit=_git("describe", "--always", "--dirty", "--abbrev=12").strip(),
        to_read="" if student else TO_READ,
        for_teachers="" if student else FOR_TEACHERS,
    )
    result["START.txt"] = start.encode()
    return result


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise CourseError("git is not installed; it says which files belong to the course") from None
    if done.returncode != 0:
        raise CourseError(
            f"{ROOT.name} is no git checkout, from which alone a bundle can be made: {done.stderr.strip()}"
        )
    return done.stdout


def _pages(notebooks: dict[Path, NotebookNode]) -> Iterator[tuple[str, str]]:
    """The pages of the stored outputs: nothing is run, and they fit the notebooks beside them."""
    blocks = {path: title_block(notebook) for path, notebook in notebooks.items()}
    records = {
        path.stem: pages.RunRecord(_stored_seconds(block.facts["Time"]), 0, "") for path, block in blocks.items()
    }
    lessons = [pages.lesson(path, block, records[path.stem]) for path, block in blocks.items()]
    for path, notebook in notebooks.items():
        yield f"{path.stem}.html", pages.lesson_page(notebook, lessons, records[path.stem], None, root="..")
    yield "index.html", pages.index_page(lessons, records, pages.sample_puzzle())


def _stored_seconds(time: str) -> float:
    stated = QUICK_TIME.search(time)
    if stated is None or stated[1] == "?":
        raise CourseError(f"no measured time in {time!r}; tools/run_course.py --write fills it in")
    return float(stated[1])


def packed(content: dict[str, bytes]) -> bytes:
    """A zip of these files, the same bytes for the same files: sorted by name, without times of this machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(content):
            entry = zipfile.ZipInfo(f"{FOLDER}/{name}")  # of 1980, the first year that a zip knows
            entry.compress_type = zipfile.ZIP_DEFLATED
            is_program = content[name].startswith(b"#!")
            entry.external_attr = (0o100755 if is_program else 0o100644) << 16
            entry.create_system = 3  # Unix, wherever it was made: the bits above are its own
            archive.writestr(entry, content[name])
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
