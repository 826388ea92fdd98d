"""Holds JSON values against schemas of the server's documents.
Standard input has one line for each value: {"document", "pointer", "value", "name"}; the documents come first, as
{"load": name, "document": {...}}. Answers may get more fields one day. But a field that the document does not name
today is a fault of the document: every object is closed here.
"""
import json
import sys

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

COMBINED = ("oneOf", "anyOf", "allOf", "$ref")


def close(schema, inside=False):
    """Lets objects have no other fields than those that are named."""
    if isinstance(schema, list):
        return [close(item, inside) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {}
    for name, value in schema.items():
        if name == "properties":
            closed[name] = {field: close(of) for field, of in value.items()}
        else:
            closed[name] = close(value, inside or name in ("anyOf", "allOf"))
    # An object that several schemas describe together is open to each of them.
    if "properties" in schema and not inside and not any(c in schema for c in COMBINED):
        closed.setdefault("additionalProperties", False)
    return closed


def main():
    registry, faults, count = Registry(), [], 0
    for line in sys.stdin:
        said = json.loads(line)
        if "load" in said:
            resource = Resource.from_contents(close(said["document"]), default_specification=DRAFT202012)
            registry = registry.with_resource(said["load"], resource)
            continue
        schema = {"$ref": f"{said['document']}#{said['pointer']}"}
        validator = Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())
        count += 1
        for error in validator.iter_errors(said["value"]):
            value = json.dumps(said["value"])[:400]
            faults.append(f"{said['name']}: {error.json_path}: {error.message[:400]}: {value}")
    print(f"{count} values")
    sys.exit("\n".join(faults) or 0)


main()
