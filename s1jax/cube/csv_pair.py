"""Places in tables: one row a place and date, VV and VH in one file and NDVI in another."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from s1jax.cube.border import bytes_of, reading, require_room
from s1jax.cube.names import in_order, unit_of, variable_of
from s1jax.cube.notes import ASKED
from s1jax.cube.numbered import dates_of

SUFFIX = ".csv"
_TIME = ("index", "date", "time", "t")
_IDENTITY = ("location_id", "sample_id", "id")
_MISSING = [
    "", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "#N/A N/A", "NaN", "nan", "-NaN", "-nan", "NULL",
    "null", "None", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
]  # fmt: skip
"""How a missing number, date or label is written; of an id only the empty one is missing."""
_DEGREES = {"latitude": "lat", "longitude": "lon", "lat": "lat", "lon": "lon"}


def read_tables(files: list[Path]) -> tuple[xr.Dataset, list[str]]:
    """Dataset (t, y, x = 1) of places on y, t every date of any table, NaN where it has no row.

    On y are lat, lon, label where the tables have them, and the name of the place, `location_id`;
    there are no coordinates y and x, since the order of places says nothing of where they are.
    A row belongs to a place by its location_id, sample_id or id, else by latitude and longitude.
    Times of day with a zone are put into UTC.

    Raises:
      ValueError: unreadable table, a column is missing or not numbers, a row is without place or
        date, a variable is in two tables, a place has two rows of one date, or tables disagree
        about a place.
    """
    tables, units = {}, {}
    for path in files:
        tables[path], own = _table(path)
        units |= own
    key = _key(tables)
    tables = _told_apart(tables, key)
    places = pd.concat([table[key] for table in tables.values()]).drop_duplicates(key)
    index = _index(places, key)
    t = pd.DatetimeIndex(sorted(set().union(*(table["t"] for table in tables.values()))))
    variables = sum(len(in_order(table.columns)) for table in tables.values())
    require_room(_list(files), bytes_of((variables, len(t), len(index)), 4))
    values = {}
    for path, table in tables.items():
        row, column = index.get_indexer(_index(table, key)), t.get_indexer(table["t"])
        twice = pd.DataFrame({"row": row, "t": column}).duplicated()
        if twice.any():
            place = table.loc[twice.to_numpy(), [*key, "t"]].iloc[0].to_dict()
            raise ValueError(f"{path}: got {int(twice.sum())} rows twice, as {place}, expected one")
        for name in in_order(table.columns):
            if name in values:
                raise ValueError(f"{name}: got it in two of {_list(files)}, expected it in one")
            value = np.full((len(t), len(index), 1), np.nan, np.float32)
            with np.errstate(over="ignore"):  # beyond float32 it is infinite, which is missing
                value[column, row, 0] = table[name]
            values[name] = (("t", "y", "x"), value, units[name])
    on_y = {
        name: ("y", found)
        for name in ("lat", "lon", "label")
        if (found := _of_place(tables, key, index, name)) is not None
    }
    if key[0] == "place":
        on_y["location_id"] = ("y", index.to_numpy().astype(str))
    coords = {"t": t.to_numpy().astype("datetime64[ns]")}
    return xr.Dataset({**values, **on_y}, coords), _counts(tables, key, index, t)


def _table(path):
    """Columns t, place, lat, lon, label, VV, VH, S2ndvi, whichever there are; and attributes of
    the variables."""
    header = _header(path)
    # ids as written: NA is Namibia, and whether they are numbers shows in all tables together
    text = [column for column in header if column.lower() in _IDENTITY]
    missing = {column: [""] if column in text else _MISSING for column in header}
    with reading(path, "CSV"):
        table = pd.read_csv(
            path,
            dtype=dict.fromkeys(text, str),
            keep_default_na=False,
            na_values=missing,
            index_col=False,
            low_memory=False,
            encoding="utf-8-sig",
        )
    if not len(table):
        raise ValueError(f"{path}: got no rows, expected one for each place and date")
    names, given = {}, [str(column) for column in table.columns]
    lower = {column.lower(): column for column in reversed(given)}
    for wanted, aliases in {"t": _TIME, "place": _IDENTITY}.items():
        found = next((lower[alias] for alias in aliases if alias in lower), None)
        names |= {found: wanted} if found else {}
    names |= {lower[k]: v for k, v in _DEGREES.items() if k in lower}
    names |= {lower["label"]: "label"} if "label" in lower else {}
    bands = {column: variable_of(column) for column in given if variable_of(column)}
    if "t" not in names.values() or not bands or len(set(bands.values())) < len(bands):
        raise ValueError(
            f"{path}: got columns {given}, expected Index and one of VV, VH, NDVI each"
        )
    units = {v: {"units": unit_of(k)} if unit_of(k) else {} for k, v in bands.items()}
    table = table.rename(columns=names | bands)[[*names.values(), *bands.values()]]
    for column in {"lat", "lon", *bands.values()} & set(table):
        if table[column].dtype.kind not in "iuf":
            got = table[column].iloc[pd.to_numeric(table[column], errors="coerce").isna().argmax()]
            raise ValueError(f"{path}: {column}: got {got!r}, expected numbers")
    if lost := int(table["t"].isna().sum()):
        raise ValueError(f"{path}: Index: got {lost} rows without, expected a date in each")
    return table.assign(t=dates_of(table["t"].to_numpy(), f"{path}: Index")), units


def _header(path):
    """Names of the columns, each there once; every row has as many fields.

    Raises:
      ValueError: no CSV, a name twice, or a row that is shorter or longer.
    """
    with reading(path, "CSV", csv.Error), path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = next((row for row in rows if row), [])
        odd = next(
            ((rows.line_num, len(row)) for row in rows if len(row) not in (0, len(header))), None
        )
    if not header:
        raise ValueError(f"{path}: cannot be read, expected CSV (got an empty file)")
    if len(header) == 1 and (mark := re.search("[;\t|]", header[0])):
        raise ValueError(f"{path}: got columns between {mark[0]!r}, expected commas")
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise ValueError(f"{path}: got columns {twice} twice, expected each once")
    if odd:
        line, count = odd
        got = f"{count} fields in line {line}"
        raise ValueError(f"{path}: got {got}, expected {len(header)} as in its first line")
    return header


def _key(tables):
    """Columns that tell places apart in all tables."""
    for key in (["place"], ["lat", "lon"]):
        if all(set(key) <= set(table) for table in tables.values()):
            return key
    got = {path.name: sorted(table) for path, table in tables.items()}
    raise ValueError(f"places: got {got}, expected location_id or latitude and longitude in each")


def _told_apart(tables, key):
    """The tables with every row of a place; ids are numbers where they are in all, else text."""
    for path, table in tables.items():
        for column in key:
            if lost := int(table[column].isna().sum()):
                name = "location_id" if column == "place" else column
                raise ValueError(f"{path}: {name}: got {lost} rows without, expected it in each")
    if key != ["place"]:
        return tables
    numbers = [pd.to_numeric(table["place"], errors="coerce") for table in tables.values()]
    # beyond 2^53 neighbours may be one number
    if not all(number.notna().all() and (number.abs() < 2**53).all() for number in numbers):
        return tables
    pairs = zip(tables.items(), numbers, strict=True)
    return {path: table.assign(place=number) for (path, table), number in pairs}


def _index(table, key):
    """Places of the rows of a table; degrees to a centimetre, so that text does not part them."""
    if len(key) == 1:
        return pd.Index(table[key[0]])
    return pd.MultiIndex.from_frame(table[key].round(7))


def _of_place(tables, key, index, name):
    """What all tables say of each place; None where none has that column."""
    known = None
    for path, table in tables.items():
        if name not in table:
            continue
        of = pd.Series(table[name].to_numpy(), _index(table, key)).dropna()
        spread = of.groupby(level=list(range(of.index.nlevels)), sort=False)
        own = spread.first()
        split = spread.max() - spread.min() > 1e-6 if name != "label" else spread.nunique() > 1
        if split.any():
            raise ValueError(f"{path}: {name}: got several of place {split.idxmax()}, expected one")
        if known is not None:
            other = known.reindex(own.index)
            differs = (other - own).abs() > 1e-6 if name != "label" else other != own
            differs &= other.notna()
            if differs.any():
                place = differs.idxmax()
                got, expected = own[place], other[place]
                raise ValueError(f"{path}: {name} of place {place}: {got=}, {expected=}")
        known = own if known is None else known.combine_first(own)
    if known is None:
        return None
    found = known.reindex(index).to_numpy()
    return found if found.dtype.kind in "iuf" else np.where(pd.isna(found), "", found).astype(str)


def _counts(tables, key, index, t):
    """What the outer join put together."""
    said = [f"{ASKED}{len(tables)} tables joined: {len(index)} places, {len(t)} dates"]
    for path, table in tables.items():
        lacks = len(index) - _index(table, key).nunique(), len(t) - table["t"].nunique()
        if any(lacks):
            said.append(f"{ASKED}{path.name} is without {lacks[0]} places and {lacks[1]} dates")
    return said


def _list(files):
    return [path.name for path in files]
