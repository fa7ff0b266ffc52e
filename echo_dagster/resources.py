"""Where the files that are not Python stand: `sql/` and `configs/`.

In a checkout they are at the top level; in a wheel they are inside the package. Nothing else in the project
builds such a path.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource(*parts: str) -> Path:
    """Return the path of a shipped file, such as `resource("sql", "balance.sql")`.

    Raises:
        FileNotFoundError: no such file is shipped.
    """
    in_wheel = _PACKAGE / "_resources"
    path = (in_wheel if in_wheel.is_dir() else _PACKAGE.parent).joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(f"{'/'.join(parts)} is not shipped with echo_dagster (looked at {path})")
    return path


def sql(name: str) -> str:
    """Return the text of the query `sql/<name>.sql`."""
    return resource("sql", f"{name}.sql").read_text(encoding="utf-8")
