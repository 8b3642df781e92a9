"""Which data are read into memory and which are encoded into a file, and the latter."""

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from vispec.model.model import FitEntry, Model
from vispec.train.data.cached.blocks import Stream, aligned
from vispec.train.data.cached.digests import NAME, digest, remember
from vispec.train.data.cached.gather import Gathering, growing, held_load
from vispec.train.data.cached.settle import assembled, settle, silent, with_note
from vispec.train.data.cached.store import Stored, Writer, alone, opened, root_of
from vispec.train.data.checks.short import needed
from vispec.train.data.checks.unmet import readings
from vispec.train.data.dataset import Dataset
from vispec.train.data.diagnostics import DataDiagnostic, DataError, Problems
from vispec.train.data.encoding.vocab import Encoders
from vispec.train.data.files import held, read, read_blocks
from vispec.train.data.load import load as load_whole
from vispec.train.data.matching.match import key_names, streams_of
from vispec.train.store.files import write_atomic

VERSION = 1  # of what is stored
LARGE = 256 << 20  # bytes of files that are read into memory as they are
PACKED = 4  # times its size is what a file of gzip counts for


def load(
    model: Model,
    arguments: Sequence[str],
    columns: Mapping[str, tuple[str, ...]] | None = None,
    encoders: Encoders | None = None,
    sizes: Mapping[str, int] | None = None,
    optional: Collection[str] = (),
    more: bool = False,
    absent: Collection[str] = (),
    cache: str = "auto",
    **options: Any,
) -> Dataset:
    """As `load_whole`, whose options these are; but data larger than `LARGE` are encoded once, into a file, and stay in it.

    cache: "auto"; "always", whatever the size; "never"; or a folder, which is as "always", for the file to lie there."""
    given = {"columns": columns, "sizes": sizes, "optional": optional, "absent": absent, **options}
    whole = {"encoders": encoders, "more": more, **given}
    if cache == "never":
        return load_whole(model, arguments, **whole)
    streams = [Stream(*each) for each in streams_of(model, arguments, columns or {}, optional, absent)]
    paths = [path for stream in streams for path in stream.paths]
    large = _bytes(paths)
    if cache == "auto" and large <= LARGE:
        return load_whole(model, arguments, **whole)
    root, known, folder = root_of(cache), encoders or Encoders(), Path()
    stored, reason = None, why_not(model, streams, options)
    if reason is None:
        folder, stored = _find(model, streams, known, given, root)
        reason = keyed(model, streams) if stored is None else None
    if reason is not None:
        if cache != "auto":
            advice = "--cache never reads them into memory"
            raise DataError(
                [DataDiagnostic("D141", f"these data cannot be encoded row by row: {reason}", paths[0], help=advice)]
            )
        told = f"{large / 1e9:.1f} GB of data are read into memory as a whole: {reason}"
        return with_note(load_whole(model, arguments, **whole), DataDiagnostic("D186", told, paths[0], severity="warning"))
    note = None
    if stored is None:
        stored, note = _make(model, streams, known, given, folder, root)
    problems = Problems()
    settled = settle(model, stored, encoders, more, sizes or {}, paths[0], problems)
    if settled.unknown:
        _name_unknown(model, streams, settled.encoders, dict(settled.sizes.known), given)
    silent(model, stored, {variable.name: paths[0] for variable in model.variables}, problems)
    found = assembled(model, stored, settled, problems)
    if found.weight is not None and not found.weights().any():
        problems.add("D120", "the weights are all 0, so there are no data", paths[0], None, found.weight)
        problems.check()
    return found if note is None else with_note(found, note)


def _bytes(paths: Sequence[str]) -> int:
    """The size of what regular files hold, about."""
    found = [Path(path) for path in paths if path not in held()]
    with suppress(OSError, ValueError):
        return sum(p.stat().st_size * (PACKED if p.suffix.lower() == ".gz" else 1) for p in found if p.is_file())
    return 0


def why_not(model: Model, streams: Sequence[Stream], options: Mapping[str, Any]) -> str | None:
    """Why rows cannot be encoded one after another, if they cannot."""
    paths = [path for stream in streams for path in stream.paths]
    if any(path in held() or not Path(path).is_file() for path in paths):
        return "they are no regular files"
    if len({*paths}) < len(paths):
        return "one file is named twice"
    if model.single is not None:
        return "the spec has no data plate, so that all of them are one row"
    if options.get("drop"):
        return "--drop-missing counts the rows that it leaves out of all"
    if options.get("index"):
        return "--index takes rows together, wherever they stand"
    if readings(model):
        return "parameters are read at labels of the data, each of which must be met"
    if any(variable.type.domain == "parse" and variable.role != "latent" for variable in model.variables):
        return "they have parses in brackets"
    if any(variable.type.whole_of is not None for variable in model.variables):
        return "their stretches are words, which are found in memory"
    if any(dict(vocab.options).get("subword") for vocab in model.vocabs):
        return "a vocabulary has `subword`, whose pieces are learnt from all of the data"
    return None


def keyed(model: Model, streams: Sequence[Stream]) -> str | None:
    """The same of tables that have a column of a plate's name."""
    names = {*key_names(model, {}).values()} - {variable.name for variable in model.variables}
    tables = [stream for stream in streams if not stream.name and names]
    if any(names & {*next(read_blocks(stream.paths[0], stream.request)).columns} for stream in tables):
        return f"a column of {', '.join(sorted(names))} takes rows together, wherever they stand"
    return None


def _find(
    model: Model, streams: Sequence[Stream], known: Encoders, given: Mapping[str, Any], root: Path
) -> tuple[Path, Stored | None]:
    """The folder of these data, and what is kept there. Other sizes than the data told have one of their own."""
    key = _key(model, streams, known, given, root)
    stored = opened(root / key)
    if stored is None or stored.agrees(given["sizes"] or {}):
        return root / key, stored
    folder = root / f"{key}-{sha256(repr(sorted(given['sizes'].items())).encode()).hexdigest()[:8]}"
    return folder, opened(folder)


def _make(
    model: Model, streams: Sequence[Stream], known: Encoders, given: Mapping[str, Any], folder: Path, root: Path
) -> tuple[Stored, DataDiagnostic | None]:
    """What is kept now, and a note on it; another process may have written it meanwhile."""
    with alone(folder):
        stored = opened(folder)
        if stored is not None:
            return stored, None
        stored = _write(model, streams, known, given, folder)
        _alias(root, _key(model, streams, known, {**given, "columns": stored.meta["asked"]}, root), folder)
    size = sum(stored.meta["bytes"].values())
    told = f"{stored.meta['rows']} rows are encoded into {folder} ({size / 1e9:.2g} GB), once for all"
    return stored, DataDiagnostic("D185", told, streams[0].paths[0], severity="warning")


def _key(model: Model, streams: Sequence[Stream], encoders: Encoders, given: Mapping[str, Any], root: Path) -> str:
    """By the content of the files and all that decides how it is encoded; by no names of files, laws or nets."""
    vocabularies = [growing(vocab, encoders.vocabularies.get(vocab.name)) for vocab in model.vocabs]
    what = [
        VERSION,
        [(v.name, v.role, str(v.type), v.type.labels, v.plates) for v in model.variables if v.role != "latent"],
        [(p.name, p.size, p.inside, p.data, p.ragged, p.length_key) for p in model.plates],
        [(size.name, size.value) for size in model.sizes],
        [(v.name, v.begin, v.end, v.lower, v.chars, v.unknown) for v in vocabularies],
        [(e.key, e.value, e.call) for e in model.fit if isinstance(e, FitEntry) and e.key in ("offset", "weight")],
        needed(model),
        [sorted((given["columns"] or {}).items()), sorted(given["optional"]), sorted(given["absent"])],
        [(stream.name, [digest(path, root) for path in stream.paths]) for stream in streams],
    ]
    with suppress(OSError):  # what cannot be kept is computed again
        known = root / NAME
        root.mkdir(parents=True, exist_ok=True)
        text = known.read_text() if known.exists() else ""
        new = remember([path for stream in streams for path in stream.paths], text)
        if new != text:
            write_atomic(known, new)
    return sha256(json.dumps(what, default=str).encode()).hexdigest()[:32]


def _alias(root: Path, key: str, folder: Path) -> None:
    """A run remembers ranges of columns by the names in them: by these the data are found too."""
    if key not in folder.name:
        with suppress(OSError):
            (root / key).symlink_to(folder.name)


def _write(model: Model, streams: Sequence[Stream], encoders: Encoders, given: Mapping[str, Any], folder: Path) -> Stored:
    writer = Writer(folder)
    try:
        gathering = Gathering(model, writer, given, encoders)
        meta = gathering.run(*_parted(model, streams))
        writer.keep(meta, {name: ([*v.ids], v.counts) for name, v in gathering.vocabularies.items()})
    except BaseException:
        writer.drop()
        raise
    stored = opened(folder)
    assert stored is not None
    return stored


def _parted(model: Model, streams: Sequence[Stream]) -> tuple[list[Stream], list[Stream]]:
    """Files whose rows are those of the data, and files of what all rows share."""
    outside = [
        s
        for s in streams
        if s.name in model.variable and not any(model.plate[plate].data for plate in model.variable[s.name].plates)
    ]
    return [stream for stream in streams if stream not in outside], outside


def _name_unknown(
    model: Model, streams: Sequence[Stream], encoders: Encoders, sizes: Mapping[str, int], given: Mapping[str, Any]
) -> None:
    """Read the files again up to the place where a word or a label stands that has no number; DataError names it."""
    rows, outside = _parted(model, [Stream(stream.name, stream.paths, stream.request) for stream in streams])
    shared = {path: read(path, stream.request) for stream in outside for path in stream.paths}
    more = [stream.argument(path) for stream in outside for path in stream.paths]
    for arguments, block in aligned(rows):
        held_load(model, [*arguments, *more], block | shared, **{**given, "encoders": encoders, "sizes": sizes})
