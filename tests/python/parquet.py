"""Reads an export as Parquet with DuckDB, and the CSV of the same.

Usage: parquet.py PARQUET_URL CSV_URL. Prints one JSON object: rows, row groups, the type of each column, and how many rows
only one of the two has.
"""

import json
import pathlib
import sys
import tempfile
import urllib.request

import duckdb


def main(parquet_url: str, csv_url: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        parquet, csv = (pathlib.Path(folder) / name for name in ("export.parquet", "export.csv"))
        for path, url in ((parquet, parquet_url), (csv, csv_url)):
            with urllib.request.urlopen(url, timeout=60) as answer:
                path.write_bytes(answer.read())
        table = duckdb.connect()
        table.execute("SET TimeZone = 'UTC'")
        table.execute(f"CREATE TABLE p AS FROM '{parquet}'")
        table.execute("CREATE TABLE c AS FROM p WITH NO DATA")
        table.execute(f"COPY c FROM '{csv}' (HEADER, NULLSTR '')")
        # In CSV an empty text and none are the same.
        table.execute("UPDATE c SET unit = coalesce(unit, '')")
        one = lambda query: table.execute(query).fetchone()[0]
        print(
            json.dumps(
                {
                    "rows": one("SELECT count(*) FROM p"),
                    "groups": one(f"SELECT num_row_groups FROM parquet_file_metadata('{parquet}')"),
                    "types": dict(table.execute("SELECT column_name, column_type FROM (DESCRIBE p)").fetchall()),
                    "only_parquet": one("SELECT count(*) FROM (FROM p EXCEPT ALL FROM c)"),
                    "only_csv": one("SELECT count(*) FROM (FROM c EXCEPT ALL FROM p)"),
                    "bytes": [parquet.stat().st_size, csv.stat().st_size],
                }
            )
        )


main(*sys.argv[1:])
