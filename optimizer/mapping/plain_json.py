"""JSON of any size and origin, guarded: no duplicate keys, one clear sentence when it cannot be read."""

import json
from collections.abc import Sequence
from typing import Any

from models.errors import InputError


def parse_json(text: str | bytes, origin: str) -> Any:
    """The value of a JSON text. Numbers that are not finite come back as such; who uses them refuses them. Raises InputError."""
    try:
        return json.loads(text if isinstance(text, str) else text.decode("utf-8"), object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise InputError(f"{origin}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{origin}: line {error.lineno}, column {error.colno}: not JSON ({error.msg}); correct it there") from error
    except ValueError as error:  # an integer of more than 4300 digits
        raise InputError(f"{origin}: a number has thousands of digits; correct it") from error
    except RecursionError as error:
        raise InputError(f"{origin}: nested too deeply; keep to lists of lists of numbers") from error
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise InputError(f'"{key[:60]}" is given twice in one object; keep one')
        found[key] = value
    return found
