"""A table file named in an instance file: the instance holds what the file says, so that its proof stands alone."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from models.errors import InputError
from models.measured import OperatorTables
from optimizer.confined import path_beside

MOST_BYTES = 2_000_000  # an instance holds its tables, and its certificate the instance
Json = dict[str, Any]


def attach_tables(data: Any, origin: str) -> Any:
    """An instance file's value in which a pool's `accelerator.tables`, where it is a path, is what that file holds.

    The path is from the folder of the instance file, and not out of it. Raises InputError, naming `origin`.
    """
    match data:
        case {"cluster": {"pools": [*pools]} as cluster}:
            return data | {"cluster": cluster | {"pools": [_with_tables(pool, origin) for pool in pools]}}
    return data


def _with_tables(pool: Any, origin: str) -> Any:
    match pool:
        case {"accelerator": {"tables": str(name)} as accelerator}:
            stated = _read(path_beside(Path(origin), name, "accelerator.tables"), origin)
            sources = accelerator.get("sources")
            said = {"sources": sources | {"tables": stated["source"]}} if isinstance(sources, dict) else {}
            return pool | {"accelerator": accelerator | {"tables": stated} | said}
    return pool


def _read(path: Path, origin: str) -> Json:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{origin}: accelerator.tables: {path} is above {MOST_BYTES} bytes; import the tables of one model only")
        stated: Json = OperatorTables.model_validate_json(path.read_bytes()).model_dump(mode="json")
    except OSError as error:
        raise InputError(f"{origin}: accelerator.tables: {path} cannot be read ({error.strerror}); check the path") from error
    except ValidationError as error:
        said = error.errors(include_url=False, include_context=False)[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"{origin}: accelerator.tables: {path} is no table file ({said}); write one with `import-tables`") from error
    return stated
