"""Files that a file names: in its own folder or below."""

from pathlib import Path

from models.errors import InputError


def path_beside(document: Path, name: str, field: str) -> Path:
    """The file `name` in the document's folder or below, links followed; nothing outside is read. Raises InputError, naming `field`."""
    folder = document.resolve().parent
    try:
        path = (folder / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f'{document}: {field}: "{name[:80]}" cannot be a path; give the name of a file beside it') from error
    if not path.is_relative_to(folder):
        raise InputError(f'{document}: {field}: "{name[:80]}" lies outside the folder of that file; put it there')
    return path
