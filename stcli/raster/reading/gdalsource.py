"""Read whatever GDAL reads, through rasterio.

GDAL handles must not be shared between threads, so each thread opens its own on first use.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, Interleaving, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from stcli.errors import InputError
from stcli.heap import empty, give_back
from stcli.raster.info import POOL, BandInfo, Held
from stcli.raster.nodata import TOGETHER, comparable, exclude
from stcli.raster.reading.assumed import NOTHING, Assumed
from stcli.raster.reading.source import SourceInfo, from_anywhere, stem, unpack
from stcli.raster.reading.zarrtags import group_tags, stored_transform, stored_units, tell_foreign

#: How a virtual raster's name ends.
VRT = ".vrt"
# A raster in pixel space is allowed here and one that needs a CRS is refused by name, so
# rasterio's warning (one for each thread's handle) would only be noise.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


class GdalSource:
    """A file opened with GDAL; picklable, one handle a thread."""

    def __init__(self, path: str, assumed: Assumed = NOTHING, name: str = "") -> None:
        self.path = path
        self._local = threading.local()
        self.info = assumed.of(describe(self._handle(), name or path))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": from_anywhere(self.path), "info": self.info}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _local=threading.local())

    def _handle(self) -> Any:
        if not hasattr(self._local, "dataset"):
            self._local.dataset = open_dataset(self.path)
            if self.path.endswith(VRT):  # its text was parsed into ten times its bytes, now free
                give_back()
        return self._local.dataset

    def close(self) -> None:
        """Close the handles of all threads: dropping the last reference closes them."""
        self._local = threading.local()

    def read(
        self, window: Window, indexes: tuple[int, ...]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read bands by 1-based numbers; see ``Source.read``.

        Raises
        ------
        InputError
            The file opened but these pixels cannot be read: truncated or damaged.
        """
        block, valid = self._told(window, indexes, False)
        return block, valid[0]

    def read_each(
        self, window: Window, indexes: tuple[int, ...]
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read bands with a valid mask each; raises as `read`."""
        return self._told(window, indexes, True)

    def _told(
        self, window: Window, indexes: tuple[int, ...], each: bool
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read, and say where it cannot be done."""
        try:
            return self._read(window, indexes, each)
        except RasterioError as error:
            rows = f"rows {window.row_off} to {window.row_off + window.height}"
            if os.strerror(errno.ENOENT) in (found := reason(error)):  # a VRT's source
                raise InputError(
                    f"{self.info.path}: {rows} cannot be read ({found}); a file that it is made of "
                    "is not there, put it back, or make it anew without that"
                ) from error
            raise InputError(
                f"{self.info.path}: {rows} cannot be read ({found}); "
                "the file is truncated or damaged, fetch it again"
            ) from error

    def _read(
        self, window: Window, indexes: tuple[int, ...], each: bool
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read block (band, row, col), and valid (band, row, col) or one for all (1, row, col)."""
        dataset = self._handle()
        bands = [self.info.bands[i - 1] for i in indexes]
        valid = self._masked(dataset, window, indexes, each)
        masks = valid if each else [valid[0]] * len(bands)
        if len({band.dtype for band in bands}) == 1 and not any(band.packed for band in bands):
            block = empty((len(bands), window.height, window.width), np.dtype(bands[0].dtype))
            dataset.read(list(indexes), window=window, out=block)
            for i, values, mask in zip(indexes, block, masks, strict=True):
                self._exclude(mask, dataset, window, i, values)
        else:
            dtype = np.result_type(*(band.block_dtype for band in bands))
            block = np.empty((len(bands), window.height, window.width), dtype)
            for k, (i, band) in enumerate(zip(indexes, bands, strict=True)):
                values = dataset.read(i, window=window)
                self._exclude(masks[k], dataset, window, i, values)
                block[k] = unpack(values, band)
        if block.dtype.kind == "f":
            for values, mask in zip(block, masks, strict=True):
                mask &= np.isfinite(values)
        return block, valid

    def _masked(
        self, dataset: Any, window: Window, indexes: tuple[int, ...], each: bool
    ) -> NDArray[np.bool_]:
        """Ask the mask or the alpha band which pixels are valid; one serves all bands."""
        alpha_is_data = not set(indexes) <= set(self.info.default)
        valid = np.ones((len(indexes) if each else 1, window.height, window.width), bool)
        rules = [self.info.rules[i - 1] for i in indexes]
        masked = [r == "mask" or (r == "alpha" and not alpha_is_data) for r in rules]
        if any(masked):
            first = indexes[masked.index(True)]
            valid[masked if each else slice(None)] = self._mask(dataset, window, first)
        return valid

    def _mask(self, dataset: Any, window: Window, index: int) -> NDArray[np.bool_]:
        """Read the mask of a band, or the alpha band itself: GDAL knows it among 2 or 4 alone."""
        if self.info.rules[index - 1] != "alpha":
            return np.asarray(dataset.read_masks(index, window=window) > 0)
        whole = np.dtype(self.info.bands[self.info.alpha - 1].dtype).kind in "iu"
        dtype = {"out_dtype": "uint8"} if whole else {}  # what is beyond becomes 0 and 255
        return np.asarray(dataset.read(self.info.alpha, window=window, **dtype) > 0)

    def _exclude(
        self,
        valid: NDArray[np.bool_],
        dataset: Any,
        window: Window,
        index: int,
        values: NDArray[Any],
    ) -> None:
        """Take a band's nodata, if that is its rule, out of the valid pixels."""
        rule, nodata = self.info.rules[index - 1], self.info.bands[index - 1].nodata
        if rule not in ("nodata", "assumed"):
            return
        told = nodata is not None and comparable(nodata, values.dtype) and not self._together
        if nodata is not None and (told or rule == "assumed"):
            exclude(valid, values, nodata)
        else:
            valid &= dataset.read_masks(index, window=window) > 0  # which decodes the band anew

    @property
    def _together(self) -> bool:
        """Tell whether a pixel is no data only where all bands are."""
        return TOGETHER in self.info.tags


def open_dataset(path: str) -> Any:
    """Open a file with rasterio; every failure is an ``InputError`` that tells which it was."""
    # GDAL reads it once, when the first file behind a VRT is opened; threads are the engine's own
    os.environ.setdefault("GDAL_MAX_DATASET_POOL_SIZE", str(POOL))
    os.environ.setdefault("VRT_NUM_THREADS", "1")
    if Path(path).is_fifo():  # /dev/stdin, or <(…) of a shell
        raise InputError(f"{path}: a pipe, which is read only once; send it to stdin and name -")
    try:
        return rasterio.open(path)
    except RasterioError as error:
        local = "://" not in path and not path.startswith("/vsi") and ":" not in path
        if local and not Path(path).exists():
            raise InputError(f"{path}: no such file; check the name") from error
        if os.strerror(errno.EMFILE) in reason(error):
            raise InputError(
                f"{path}: too many files are open already; give fewer, or raise ulimit -n."
            ) from error
        raise InputError(
            f"{path}: cannot be read as a raster ({reason(error)}); a whole file in a format "
            "that GDAL reads is wanted"
        ) from error


def reason(error: BaseException) -> str:
    """GDAL's own words for an error: rasterio keeps them in the exception's cause."""
    text = str(error.__cause__ or error)
    return " ".join(text.split()).rstrip(".")


def describe(dataset: Any, path: str) -> SourceInfo:
    """Read a dataset's facts and refuse what cannot be used.

    Raises
    ------
    InputError
        NetCDF by GDAL, complex bands, a container without bands of its own, or ground control
        points or RPCs in place of an affine transform.
    """
    _refuse(dataset, path)
    count = dataset.count
    alpha = [i for i in range(1, count + 1) if dataset.colorinterp[i - 1] == ColorInterp.alpha]
    data = tuple(i for i in range(1, count + 1) if i not in alpha)
    try:
        geobox = GeoBox(dataset.shape, _transform(dataset), dataset.crs)
    except Exception as error:  # pyproj may not know what GDAL knows
        raise InputError(
            f"{path}: its CRS cannot be understood ({error}); assign a standard one, for example "
            "with gdal_edit.py -a_srs"
        ) from error
    rows, cols = _block(dataset)
    units, tags = _units(dataset), _tags(dataset)
    if dataset.driver == "Zarr" and geobox.crs is None:
        tell_foreign(path, tags)
    return SourceInfo(
        path=path,
        driver=dataset.driver,
        geobox=geobox,
        bands=tuple(_band(dataset, path, i, units[i - 1]) for i in range(1, count + 1)),
        rules=tuple(_rule(dataset, i, bool(alpha) and i in data) for i in range(1, count + 1)),
        default=data or tuple(alpha),
        times=("",) * count,
        tags=tags,
        tiles=cols if rows == cols < dataset.width else 0,
        rows=rows,
        held=_held(dataset),
    )


def _held(dataset: Any, above: frozenset[Path] = frozenset()) -> Held:
    """Bytes that a thread's own handle holds, and the block cache beyond its limit.

    It may be behind the VRTs `above`.

    A VRT of 11 000 sources, 3.9 MB of text, holds 4.5 MB (GDAL 3.10): twice its text is counted,
    and what the files behind it hold that may be open at once.
    Another file's holds the block that was decoded last: as it came, packed; unpacked, where it is
    one of all bands; and a band of it, which GDAL's cache takes even where it has no room for it.
    """
    file = Path(dataset.name)
    if dataset.driver == "VRT":
        text = 2 * file.stat().st_size if file.is_file() else 0
        return Held(text, behind=_behind(dataset, above))
    rows, cols = _block(dataset)
    sizes = [rows * cols * np.dtype(dtype).itemsize for dtype in dataset.dtypes]
    mixed = dataset.count > 1 and dataset.interleaving == Interleaving.pixel
    block = sum(sizes) if mixed else max(sizes)
    packed = block if dataset.compression else 0
    if packed and file.is_file():
        count = -(-dataset.height // rows) * -(-dataset.width // cols)
        count *= 1 if mixed else dataset.count
        packed = min(block, 2 * file.stat().st_size // count)  # blocks differ
    return Held(packed + (block if mixed else 0) + max(sizes))


def _behind(virtual: Any, above: frozenset[Path]) -> tuple[int, ...]:
    """Bytes that files behind a VRT hold, the largest first; of many the largest are looked at.

    One that is not there, or no raster, is left to who reads it; so is a VRT that is behind itself.
    """
    above |= {Path(virtual.name).resolve()}
    others = [Path(name) for name in virtual.files if name != virtual.name]
    sizes = {file: file.stat().st_size for file in others if file.is_file()}
    found: list[int] = []
    for file in sorted(sizes, key=lambda name: (-sizes[name], name))[:POOL]:
        if file.resolve() in above:
            continue
        with contextlib.suppress(RasterioError), rasterio.open(file) as dataset:
            held = _held(dataset, above)
            found += [held.handles, *held.behind]
    return tuple(sorted(found, reverse=True)[:POOL])


def _transform(dataset: Any) -> Any:
    """Transform of a dataset; GDAL finds none of a Zarr that has one row or column."""
    lost = dataset.driver == "Zarr" and dataset.transform.is_identity
    return (stored_transform(dataset.name) if lost else None) or dataset.transform


def _block(dataset: Any) -> tuple[int, int]:
    """Rows and columns of a file's blocks; 0 of a VRT's, which say nothing of the files behind."""
    rows, cols = (0, 0) if dataset.driver == "VRT" else dataset.block_shapes[0]
    return int(rows), int(cols)


def _tags(dataset: Any) -> dict[str, str]:
    own = {str(k): str(v) for k, v in dataset.tags().items()}
    return {**group_tags(dataset.name), **own} if dataset.driver == "Zarr" else own


def _refuse(dataset: Any, path: str) -> None:
    if dataset.driver == "netCDF":
        raise InputError(
            f"{path}: a NetCDF found under a GDAL name, which loses times, names and CRS; name "
            "the file itself, copied to this machine, and choose its variables with -b"
        )
    if dataset.count == 0 and (Path(path) / "zarr.json").exists():
        raise InputError(
            f"{path}: is a Zarr of format 3, which GDAL {rasterio.__gdal_version__} does not read "
            "as a raster; one of format 2, a GeoTIFF or a NetCDF is wanted, which xarray writes"
        )
    if dataset.count == 0:
        inside = ", ".join(dataset.subdatasets[:5]) or "nothing"
        raise InputError(f"{path}: holds no bands of its own but {inside}; name one of them")
    if any(dtype.startswith("complex") for dtype in dataset.dtypes):
        raise InputError(
            f"{path}: bands are {dataset.dtypes[0]}, real numbers are wanted; "
            "write the amplitude or the phase to a file first"
        )
    if dataset.transform.is_identity and (dataset.gcps[0] or dataset.rpcs):
        found = f"{len(dataset.gcps[0])} ground control points" if dataset.gcps[0] else "RPCs"
        raise InputError(
            f"{path}: has {found} and no affine transform, a georeferenced grid is wanted; "
            "run gdalwarp on it first"
        )


def _band(dataset: Any, path: str, i: int, units: str | None) -> BandInfo:
    fallback = stem(path) if dataset.count == 1 else f"band {i}"
    return BandInfo(
        name=dataset.descriptions[i - 1] or _zarr_name(dataset, i) or fallback,
        dtype=dataset.dtypes[i - 1],
        nodata=dataset.nodatavals[i - 1],
        scale=float(dataset.scales[i - 1]),
        offset=float(dataset.offsets[i - 1]),
        units=units or None,
    )


def _rule(dataset: Any, i: int, beside_alpha: bool) -> str:
    flags = dataset.mask_flag_enums[i - 1]
    if MaskFlags.nodata in flags:
        return "nodata"
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        return "mask"
    if beside_alpha:
        return "alpha"
    return "nan" if dataset.dtypes[i - 1].startswith("float") else "all"


def _zarr_name(dataset: Any, i: int) -> str:
    """Name that a Zarr of ours, or any with names along a dimension ``band``, gives a band."""
    if dataset.driver != "Zarr":
        return ""
    named = dataset.tags(i).get("DIM_band_VALUE", "")
    return named or (dataset.tags().get("long_name", "") if dataset.count == 1 else "")


def _units(dataset: Any) -> tuple[str | None, ...]:
    """Read the units of bands; a Zarr of ours tells them itself where bands differ in them."""
    told = stored_units(dataset.name) if dataset.driver == "Zarr" else []
    own: tuple[str | None, ...] = tuple(dataset.units)
    if len(told) != len(own):
        return own
    return tuple(one or other for one, other in zip(own, told, strict=True))
