"""Say in the file what the values of a class raster mean.

A GeoTIFF holds the colour table and, as band tags ``class_1=water``, the names. GDAL, and with
it QGIS, looks for category names and attribute tables only in the ``.aux.xml`` beside the file
(GDAL's persistent auxiliary metadata), so both are written there too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from stcli.raster.reading.stdin import readable

Colour = tuple[int, int, int, int]

# GDALRATFieldType and GDALRATFieldUsage
_INTEGER, _STRING = 0, 2
_NAME, _MINMAX, _RED, _GREEN, _BLUE, _ALPHA = 2, 5, 6, 7, 8, 9


def class_tags(categories: Sequence[str]) -> dict[str, str]:
    """Name the classes as band tags: ``{'class_1': 'water', …}``; unused values are left out."""
    return {f"class_{value}": name for value, name in enumerate(categories) if name}


def word(name: str) -> str:
    """Make a name one word, as CF's ``flag_meanings`` have it."""
    return "_".join(name.split())


def flags(categories: Sequence[str]) -> tuple[list[int], str] | None:
    """Give values and CF ``flag_meanings`` of the classes that have a name; None where none has."""
    used = {value: name for value, name in enumerate(categories) if name}
    meanings = " ".join(map(word, used.values()))
    return (list(used), meanings) if used else None


def read_flags(attributes: Mapping[str, Any]) -> dict[int, str]:
    """Read the names that CF attributes, numbers or as text, give values; empty without any."""
    values = re.findall(r"-?\d+", str(attributes.get("flag_values", "")))
    meanings = str(attributes.get("flag_meanings", "")).split()
    alike = len(values) == len(meanings)
    return {int(v): name for v, name in zip(values, meanings, strict=True)} if alike else {}


def auxiliary_xml(
    bands: Sequence[tuple[Sequence[str], Mapping[int, Colour]]], known: bytes | None = None
) -> bytes | None:
    """Write GDAL's ``.aux.xml`` for bands of (category names, colours); None if it says nothing.

    Parameters
    ----------
    bands : sequence of (sequence of str, mapping)
    known : bytes, optional
        What GDAL has written for the raster, to which the names are added.
    """
    root = ET.Element("PAMDataset") if known is None else ET.fromstring(known)
    for number, (categories, colours) in enumerate(bands, start=1):
        if categories:
            band = root.find(f"PAMRasterBand[@band='{number}']")
            if band is None:
                band = ET.SubElement(root, "PAMRasterBand", band=str(number))
            names = ET.SubElement(band, "CategoryNames")
            for name in categories:
                ET.SubElement(names, "Category").text = name
            band.append(_attribute_table(categories, colours))
    if len(root) == 0:
        return None
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8")
    return text + b"\n"


def _attribute_table(categories: Sequence[str], colours: Mapping[int, Colour]) -> ET.Element:
    fields = [("Value", _INTEGER, _MINMAX), ("Class", _STRING, _NAME)]
    if colours:
        channels = (("Red", _RED), ("Green", _GREEN), ("Blue", _BLUE), ("Alpha", _ALPHA))
        fields += [(name, _INTEGER, usage) for name, usage in channels]
    table = ET.Element("GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(fields):
        definition = ET.SubElement(table, "FieldDefn", index=str(index))
        ET.SubElement(definition, "Name").text = name
        ET.SubElement(definition, "Type").text = str(kind)
        ET.SubElement(definition, "Usage").text = str(usage)
    named = [(value, name) for value, name in enumerate(categories) if name]
    for index, (value, name) in enumerate(named):
        row = ET.SubElement(table, "Row", index=str(index))
        colour = colours.get(value, (0, 0, 0, 255)) if colours else ()
        for cell in (value, name, *colour):
            ET.SubElement(row, "F").text = str(cell)
    return table


def read_class_names(path: str) -> dict[int, str]:
    """Read the names of a class raster's values from its band tags; empty where it has none."""
    import rasterio

    with rasterio.open(readable(path)) as dataset:
        tags = dataset.tags(1)
    named = {key.removeprefix("class_"): name for key, name in tags.items()}
    return {int(value): name for value, name in named.items() if value.isdecimal()}


def read_colours(path: str) -> dict[int, Colour]:
    """Read the colour table of a raster's first band; empty where it has none."""
    import rasterio

    with rasterio.open(readable(path)) as dataset:
        if dataset.colorinterp[0].name != "palette":
            return {}
        table: dict[int, Colour] = dataset.colormap(1)
    return table
