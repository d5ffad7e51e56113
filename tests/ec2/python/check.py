"""Checks a recording of the proxy against botocore's model of EC2: every request by its parameters, every reply by its shape.

Prints the first offences and ends with 1 if there are any; with 2 if there is nothing to check.
"""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree

import botocore.session
from botocore.parsers import create_parser

SHOWN = 20
TRUE, FALSE = ("true", "True"), ("false", "False")
HEAD = {"Action", "Version"}
# Of a request that was signed in its query.
SIGNATURE = re.compile(r"X-Amz-\w+|AWSAccessKeyId|Signature\w*|Timestamp|Expires")


class Offence(Exception):
    pass


def wire_name(member, name):
    """The name of a member in a request of the protocol `ec2`."""
    serialization = member.serialization
    if "queryName" in serialization:
        return serialization["queryName"]
    if "name" in serialization:
        return serialization["name"][0].upper() + serialization["name"][1:]
    return name


def tree_of(pairs):
    """`A.1.B=x` as {A: {1: {B: x}}}."""
    root = {}
    for name, value in pairs:
        at = root
        *path, last = name.split(".")
        for part in path:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                raise Offence(f"{name}: {part} has a value and members")
        if last in at:
            raise Offence(f"{name} is there twice")
        at[last] = value
    return root


def scalar(shape, value, path):
    kind = shape.type_name
    if isinstance(value, dict):
        raise Offence(f"{path}: a {kind} has no members: {sorted(value)}")
    if kind in ("integer", "long"):
        if not re.fullmatch(r"-?\d+", value):
            raise Offence(f"{path}: {value!r} is no {kind}")
    elif kind in ("float", "double"):
        try:
            float(value)
        except ValueError:
            raise Offence(f"{path}: {value!r} is no {kind}") from None
    elif kind == "boolean":
        if value not in TRUE + FALSE:
            raise Offence(f"{path}: {value!r} is no boolean")
    elif kind == "string":
        allowed = getattr(shape, "enum", None)
        if allowed and value not in allowed:
            raise Offence(f"{path}: {value!r} is none of {allowed}")


def members(shape, given, path):
    names = {wire_name(member, name): (name, member) for name, member in shape.members.items()}
    for name in given:
        if name not in names:
            raise Offence(f"{path}{name}: unknown, there are {', '.join(sorted(names))}")
    for wire, (name, member) in names.items():
        if wire in given:
            value(member, given[wire], f"{path}{wire}")
        elif name in shape.required_members:
            raise Offence(f"{path}{wire}: required, and missing")


def value(shape, given, path):
    kind = shape.type_name
    if kind == "structure":
        if not isinstance(given, dict):
            raise Offence(f"{path}: a structure has members, not the value {given!r}")
        members(shape, given, f"{path}.")
    elif kind == "list":
        if not isinstance(given, dict):
            raise Offence(f"{path}: a list is written {path}.1, {path}.2, not {path}={given!r}")
        wanted = [str(number) for number in range(1, len(given) + 1)]
        if sorted(given, key=lambda number: (len(number), number)) != wanted:
            raise Offence(f"{path}: elements are numbered from 1 without gaps, not {sorted(given)}")
        for number, element in given.items():
            value(shape.member, element, f"{path}.{number}")
    else:
        scalar(shape, given, path)


def check_request(model, line):
    pairs = [tuple(pair) for pair in line["parameters"] if not SIGNATURE.fullmatch(pair[0])]
    given = dict(pair for pair in pairs if pair[0] in HEAD)
    if line["action"] not in model.operation_names:
        raise Offence(f"no such action: {line['action']!r}")
    if given.get("Version") != model.api_version:
        raise Offence(f"Version is {model.api_version}, not {given.get('Version')!r}")
    tree = tree_of([pair for pair in pairs if pair[0] not in HEAD])
    shape = model.operation_model(line["action"]).input_shape
    if shape is None:
        if tree:
            raise Offence(f"{line['action']} has no parameters: {sorted(tree)}")
    else:
        members(shape, tree, "")


def unknown_elements(shape, element, path):
    """Elements that the shape doesn't have: botocore's parser passes over them, and so over misspelt ones."""
    kind = shape.type_name
    children = [(child.tag.split("}")[-1], child) for child in element]
    if kind == "structure":
        names = {member.serialization.get("name", name): member for name, member in shape.members.items()}
        for tag, child in children:
            if tag in names:
                unknown_elements(names[tag], child, f"{path}.{tag}")
            elif tag not in ("requestId", "return"):
                raise Offence(f"{path}.{tag}: unknown")
    elif kind == "list":
        for tag, child in children:
            if tag != shape.member.serialization.get("name", "item"):
                raise Offence(f"{path}.{tag}: an element of this list is called otherwise")
            unknown_elements(shape.member, child, f"{path}.{tag}")
    else:
        if children:
            raise Offence(f"{path}: a {kind} has no elements: {[tag for tag, _ in children]}")
        scalar_reply(shape, element.text or "", path)


def scalar_reply(shape, text, path):
    if shape.type_name in ("integer", "long", "float", "double", "boolean", "string") and not (
        text == "" and shape.type_name == "string"
    ):
        # Values that newer releases may add are no offence, but what is no number or no word is.
        allowed = getattr(shape, "enum", None)
        if allowed and shape.type_name == "string" and text not in allowed:
            raise Offence(f"{path}: {text!r} is none of {allowed}")
        if shape.type_name != "string":
            scalar(shape, text, path)


def check_reply(model, parser, line):
    status, body = line["status"], line["reply"].encode()
    operation = model.operation_model(line["action"]) if line["action"] in model.operation_names else None
    shape = operation.output_shape if operation else None
    try:
        parsed = parser.parse({"status_code": status, "headers": {}, "body": body}, shape)
    except Exception as error:  # whatever botocore would raise at its users
        raise Offence(f"botocore can't read the reply: {error}") from None
    if status >= 300:
        code = parsed.get("Error", {}).get("Code")
        if not code or str(code) == str(status):
            raise Offence(f"an error of status {status} without a code")
        return
    root = ElementTree.fromstring(body)
    name = root.tag.split("}")[-1]
    if name != f"{line['action']}Response":
        raise Offence(f"the reply is a {name}")
    if shape is not None:
        unknown_elements(shape, root, name)


def main():
    model = botocore.session.get_session().get_service_model("ec2")
    parser = create_parser(model.metadata["protocol"])
    lines, wrong = 0, []
    with open(sys.argv[1], encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            line = json.loads(text)
            if line["service"] != "ec2":
                continue
            lines += 1
            for what, check in (
                ("request", lambda: check_request(model, line)),
                ("reply", lambda: check_reply(model, parser, line)),
            ):
                try:
                    check()
                except Offence as offence:
                    wrong.append(f"line {number}: {line['action']}: {what}: {offence}")
    if not lines:
        print("nothing was recorded")
        return 2
    for offence in wrong[:SHOWN]:
        print(offence)
    print(f"{lines} requests and replies, {len(wrong)} offences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
