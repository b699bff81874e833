"""Places in tables: one row a place and date, VV and VH in one file and NDVI in another."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from s1jax.cube.dates import dates_of
from s1jax.cube.findings import Finding, requested
from s1jax.cube.names import in_order, unit_of, variable_of
from s1jax.cube.safety import bytes_of, reading, require_room

_TIME = ("index", "date", "time", "t")
_IDENTITY = ("location_id", "sample_id", "id")
_DEGREES = {"latitude": "lat", "longitude": "lon", "lat": "lat", "lon": "lon"}


def read_tables(files: list[Path]) -> tuple[xr.Dataset, list[Finding]]:
    """Dataset (t, y, x = 1) of places on y, t every date of any table, NaN where it has no row.

    On y are lat, lon, label where the tables have them, and `location_id`; y and x themselves have
    no coordinates. A row belongs to a place by its location_id, sample_id or id, else by latitude
    and longitude. Times of day with a zone are put into UTC. Also findings.

    Raises:
      ValueError: unreadable table, a column is missing or not numbers, a row is without place or
        date, a variable is in two tables, a place has two rows of one date, or rows disagree
        about a place.
    """
    units, tables = {}, {}
    for path in files:
        tables[path], of_table = _table(path)
        units |= of_table
    tables, places = _with_places(tables)
    t = pd.DatetimeIndex(sorted(set().union(*(table["t"] for table in tables.values()))))
    variables = sum(len(in_order(table.columns)) for table in tables.values())
    names = [path.name for path in files]
    require_room(names, bytes_of((variables, len(t), len(places)), 4))
    values = {}
    for path, table in tables.items():
        twice = table.duplicated(["row", "t"])
        if twice.any():
            row = table[twice].iloc[0]
            got = f"{int(twice.sum())} rows twice, as {places[row['row']]} on {row['t']}"
            raise ValueError(f"{path}: got {got}, expected one")
        row, column = table["row"].to_numpy(), t.get_indexer(table["t"])
        for name in in_order(table.columns):
            if name in values:
                raise ValueError(f"{name}: got it in two of {names}, expected it in one")
            value = np.full((len(t), len(places), 1), np.nan, np.float32)
            with np.errstate(over="ignore"):  # beyond float32 it is infinite, which is missing
                value[column, row, 0] = table[name]
            values[name] = (("t", "y", "x"), value, units[name])
    together = pd.concat(tables.values())
    on_y = {
        name: ("y", _of_places(together, name, places, names))
        for name in ("lat", "lon", "label")
        if name in together
    }
    if not isinstance(places, pd.MultiIndex):
        on_y["location_id"] = ("y", places.to_numpy().astype(str))
    findings = [requested(f"{len(tables)} tables joined: {len(places)} places, {len(t)} dates")]
    for path, table in tables.items():
        lacks = len(places) - table["row"].nunique(), len(t) - table["t"].nunique()
        if any(lacks):
            findings.append(
                requested(f"{path.name} is without {lacks[0]} places and {lacks[1]} dates")
            )
    coords = {"t": t.to_numpy().astype("datetime64[ns]")}
    return xr.Dataset({**values, **on_y}, coords), findings


def _table(path):
    """Columns t, place, lat, lon, label, VV, VH, S2ndvi, if there; and attributes of variables."""
    header = _header(path)
    # ids as written: NA is Namibia, and whether they are numbers shows in all tables together
    ids = {column: _id for column in header if column.lower() in _IDENTITY}
    options = {"index_col": False, "low_memory": False, "encoding": "utf-8-sig"}
    with reading(path, "CSV"):
        table = pd.read_csv(path, converters=ids, **options)
    if not len(table):
        raise ValueError(f"{path}: got no rows, expected one for each place and date")
    columns = [str(column) for column in table.columns]
    lower = {column.lower(): column for column in reversed(columns)}
    names = {}
    for wanted, aliases in {"t": _TIME, "place": _IDENTITY}.items():
        column = next((lower[alias] for alias in aliases if alias in lower), None)
        names |= {column: wanted} if column else {}
    names |= {lower[k]: v for k, v in (_DEGREES | {"label": "label"}).items() if k in lower}
    bands = {column: variable_of(column) for column in columns if variable_of(column)}
    if "t" not in names.values() or not bands or len(set(bands.values())) < len(bands):
        expected = "Index and one of VV, VH, NDVI each"
        raise ValueError(f"{path}: got columns {columns}, expected {expected}")
    units = {name: {"units": unit_of(k)} if unit_of(k) else {} for k, name in bands.items()}
    table = table.rename(columns=names | bands)[[*names.values(), *bands.values()]]
    for column in {"lat", "lon", *bands.values()} & set(table):
        if table[column].dtype.kind not in "iuf":
            got = table[column].iloc[pd.to_numeric(table[column], errors="coerce").isna().argmax()]
            raise ValueError(f"{path}: {column}: got {got!r}, expected numbers")
    if lost := int(table["t"].isna().sum()):
        raise ValueError(f"{path}: Index: got {lost} rows without, expected a date in each")
    return table.assign(t=dates_of(table["t"].to_numpy(), f"{path}: Index")), units


def _id(text):
    return text or np.nan


def _header(path):
    """Names of the columns, each there once; every row has as many fields."""
    with reading(path, "CSV", csv.Error), path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = next((row for row in rows if row), [])
        counts = ((rows.line_num, len(row)) for row in rows)
        odd = next((pair for pair in counts if pair[1] not in (0, len(header))), None)
    if not header:
        raise ValueError(f"{path}: cannot be read, expected CSV (got an empty file)")
    if len(header) == 1 and (mark := re.search("[;\t|]", header[0])):
        raise ValueError(f"{path}: got columns between {mark[0]!r}, expected commas")
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise ValueError(f"{path}: got columns {twice} twice, expected each once")
    if odd:
        got = f"{odd[1]} fields in line {odd[0]}"
        raise ValueError(f"{path}: got {got}, expected {len(header)} as in its first line")
    return header


def _with_places(tables):
    """The tables with the number of the place of each `row`, and the places in order."""
    common = set.intersection(*(set(table) for table in tables.values()))
    key = next((key for key in (["place"], ["lat", "lon"]) if common >= set(key)), None)
    if key is None:
        got = {path.name: sorted(table) for path, table in tables.items()}
        expected = "location_id or latitude and longitude in each"
        raise ValueError(f"places: got {got}, expected {expected}")
    for path, table in tables.items():
        for column in key:
            if lost := int(table[column].isna().sum()):
                name = "location_id" if column == "place" else column
                raise ValueError(f"{path}: {name}: got {lost} rows without, expected it in each")
    of_rows = pd.concat([table[key] for table in tables.values()])
    if key == ["place"]:
        number = pd.to_numeric(of_rows["place"], errors="coerce")
        # beyond 2^53 neighbours may be one number
        if number.notna().all() and (number.abs() < 2**53).all():
            of_rows = of_rows.assign(place=number)
        every = pd.Index(of_rows["place"])
    else:
        every = pd.MultiIndex.from_frame(of_rows.round(7))  # a centimetre
    places = every.unique()
    ends = np.cumsum([len(table) for table in tables.values()])[:-1]
    rows = np.split(places.get_indexer(every), ends)
    pairs = zip(tables.items(), rows, strict=True)
    return {path: table.assign(row=row) for (path, table), row in pairs}, places


def _of_places(table, name, places, files):
    """The values of each place, NaN or "" where its rows have none."""
    groups = table.dropna(subset=[name]).groupby("row", sort=False)[name]
    split = groups.nunique() > 1 if name == "label" else groups.max() - groups.min() > 1e-6
    if split.any():
        row = split.idxmax()
        got = f"{[*groups.get_group(row).unique()][:2]} of place {places[row]}"
        raise ValueError(f"{files}: {name}: got {got}, expected one")
    value = groups.first().reindex(range(len(places))).to_numpy()
    return value if value.dtype.kind in "iuf" else np.where(pd.isna(value), "", value).astype(str)
