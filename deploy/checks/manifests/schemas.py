"""Validates manifests against the schemas of Kubernetes versions, and of the operators whose objects they have.

usage: schemas.py VERSION[,VERSION…] FILE…
"""

import functools
import json
import pathlib
import shutil
import subprocess
import sys

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate import utils

# Go modules that have the definitions in them. The first version of Gateway API with time-outs in its standard channel.
DEFINITIONS = {
    "sigs.k8s.io/gateway-api@v1.2.1": ["config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"],
    "github.com/prometheus-operator/prometheus-operator@v0.80.1": [
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ],
}

# It reads a megabyte of definitions for each object.
utils.schema_contents = functools.lru_cache(utils.schema_contents)


def strict(schema):
    """A definition's schema as an API server with strict field validation takes it."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(part) for key, part in schema.items()}
    if schema.pop("x-kubernetes-int-or-string", False):
        schema.pop("type", None)
        schema.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_ended:
        schema.setdefault("additionalProperties", False)
    return schema


def definitions():
    """Validators by kind and version of custom resources; empty where there is no Go to get them by."""
    found = {}
    go = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
    if not go:
        return found
    for module, files in DEFINITIONS.items():
        answer = subprocess.run([go, "mod", "download", "-json", module], cwd="/", capture_output=True, text=True)
        if answer.returncode:
            print(f"skipped: definitions of {module}: {answer.stdout.strip()} {answer.stderr.strip()}")
            continue
        for file in files:
            definition = yaml.safe_load(pathlib.Path(json.loads(answer.stdout)["Dir"], file).read_text())["spec"]
            for version in definition["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                # What every object has is not spelt out.
                schema["properties"]["metadata"] = {"type": "object"}
                name = (f"{definition['group']}/{version['name']}", definition["names"]["kind"])
                found[name] = jsonschema.Draft7Validator(schema)
    return found


def faults(document, versions, custom):
    """Fills in what is wrong; None where nothing is known of this kind."""
    name = (document["apiVersion"], document["kind"])
    if name in custom:
        return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in custom[name].iter_errors(document)]
    wrong = []
    for version in versions:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            wrong.append(f"Kubernetes {version}: {'/'.join(map(str, error.absolute_path))}: {error.message}")
        except utils.SchemaNotFoundError:
            return None
    return wrong


def main():
    versions, files = sys.argv[1].split(","), sys.argv[2:]
    known = {utils.major_minor(version) for version in utils.all_versions()}
    assert known >= set(versions), f"schemas of {sorted(set(versions) - known)} are not there"
    custom, unknown, count, wrong = definitions(), set(), 0, []
    for file in files:
        for document in yaml.safe_load_all(pathlib.Path(file).read_text()):
            where = f"{file}: {document['kind']}/{document['metadata'].get('name')}"
            found = faults(document, versions, custom)
            if found is None:
                unknown.add(f"{document['kind']} of {document['apiVersion']}")
            else:
                count += 1
                wrong += [f"{where}: {fault}" for fault in found]
    print("\n".join(wrong + [f"{count} objects are as Kubernetes {', '.join(versions)} want them" * (not wrong)]))
    if unknown:
        print(f"skipped: {', '.join(sorted(unknown))}: not validated, their definitions need Go to be downloaded")
    sys.exit(bool(wrong))


main()
