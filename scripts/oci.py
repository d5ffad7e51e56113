#!/usr/bin/env python3
"""Packs folders as a container image: an OCI image archive that containerd, podman, skopeo and docker take.

One layer per folder, in the order given, the lowest first. The same folders and options give the same bytes: entries are
sorted, modes are 0755 or 0644 by whether the owner may execute, and owners are 0:0; --set names exceptions. Files are of
1970, so that a layer that has not changed is the same in every release; only the image is of --epoch. What no image of ours should hold (set-uid files, devices, sockets) is refused. Needs Python 3.9, nothing else.

  oci.py OUT.tar --name REGISTRY/IMAGE:TAG --layer DIR [--layer DIR]... [--entrypoint ARG]... [--cmd ARG]... [--user UID[:GID]]
         [--env KEY=VALUE]... [--label KEY=VALUE]... [--set PATH=MODE[:UID:GID]]... [--arch amd64] [--epoch SECONDS]
  oci.py --unpack ARCHIVE.tar DIR      checks every digest and size, and lays the layers over each other in an empty DIR

Prints the image's digest. OUT is written aside and moved into place, so that an interrupted run leaves no half of it.
"""
import argparse
import datetime
import hashlib
import io
import json
import os
import pathlib
import stat
import sys
import tarfile

OCI = "application/vnd.oci.image."


def fail(text):
    sys.exit(f"oci.py: {text}")


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def dumps(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def descriptor(kind, data, **more):
    return {"mediaType": OCI + kind, "digest": digest(data), "size": len(data), **more}


def entry(name, path, owners):
    """The tar header of one file of a layer."""
    status = path.lstat()
    info = tarfile.TarInfo(name)
    if stat.S_ISLNK(status.st_mode):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
    elif stat.S_ISDIR(status.st_mode):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    elif stat.S_ISREG(status.st_mode):
        if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            fail(f"{path} is set-uid or set-gid: it has no place in an image")
        info.size, info.mode = status.st_size, 0o755 if status.st_mode & stat.S_IXUSR else 0o644
    else:
        fail(f"{path} is neither a file, a directory nor a link")
    if name in owners:
        info.mode, info.uid, info.gid = owners[name]
    return info


def contents(root):
    """Relative paths of everything below a folder, directories before what is in them. Links aren't followed."""
    if not root.is_dir():
        fail(f"{root} is not a directory")
    names = [os.path.join(at, name) for at, dirs, files in os.walk(root) for name in dirs + files]
    return sorted((os.path.relpath(name, root) for name in names), key=lambda name: name.split("/"))


def layer(root, owners):
    """A folder as an uncompressed tar archive. Uncompressed, because compressors of other versions give other bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in contents(root):
            path = root / name
            info = entry(name, path, owners)
            if info.isreg():
                with path.open("rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)
    return out.getvalue()


def pairs(texts, option):
    for text in texts:
        if "=" not in text:
            fail(f"{option} {text}: want KEY=VALUE")
    return dict(text.split("=", 1) for text in texts)


def owners(texts):
    out = {}
    for path, value in pairs(texts, "--set").items():
        mode, *ids = value.split(":")
        uid, gid = map(int, ids) if ids else (0, 0)
        out[path.strip("/")] = (int(mode, 8), uid, gid)
    return out


def pack(options):
    special = owners(options.set)
    layers = [layer(root, special) for root in options.layer]
    missing = set(special) - {name for root in options.layer for name in contents(root)}
    if missing:
        fail(f"--set names what is in no layer: {', '.join(sorted(missing))}")
    created = datetime.datetime.fromtimestamp(options.epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    run = {"Env": options.env or ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "WorkingDir": "/"}
    for key, value in (("Entrypoint", options.entrypoint), ("Cmd", options.cmd), ("User", options.user)):
        if value:
            run[key] = value
    if options.label:
        run["Labels"] = pairs(options.label, "--label")
    config = dumps({
        "architecture": options.arch, "os": "linux", "created": created, "config": run,
        "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in layers]},
        "history": [{"created": created, "created_by": root.name} for root in options.layer],
    })
    manifest = dumps({
        "schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "config": descriptor("config.v1+json", config),
        "layers": [descriptor("layer.v1.tar", data) for data in layers],
    })
    # containerd takes the whole name from its own annotation; the specification's one is the tag.
    names = {"io.containerd.image.name": options.name, "org.opencontainers.image.ref.name": options.name.rpartition(":")[2]}
    index = dumps({"schemaVersion": 2, "mediaType": OCI + "index.v1+json", "manifests": [
        descriptor("manifest.v1+json", manifest, annotations=names, platform={"architecture": options.arch, "os": "linux"})]})
    blobs = {"blobs/sha256/" + digest(data)[7:]: data for data in (config, manifest, *layers)}
    # For `docker load` before version 25, which knows no OCI layout.
    docker = dumps([{"Config": "blobs/sha256/" + digest(config)[7:], "RepoTags": [options.name],
                     "Layers": ["blobs/sha256/" + digest(data)[7:] for data in layers]}])
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, "manifest.json": docker, **blobs}
    aside = options.out.with_name(f".{options.out.name}.{os.getpid()}")
    try:
        with tarfile.open(aside, "w", format=tarfile.GNU_FORMAT) as tar:
            for name in ["blobs", "blobs/sha256"]:
                info = tarfile.TarInfo(name)
                info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, options.epoch
                tar.addfile(info)
            for name, data in sorted(files.items()):
                info = tarfile.TarInfo(name)
                info.size, info.mode, info.mtime = len(data), 0o644, options.epoch
                tar.addfile(info, io.BytesIO(data))
        os.replace(aside, options.out)
    finally:
        aside.unlink(missing_ok=True)
    print(digest(manifest))


def unpack(archive, target):
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        fail(f"{target} is not empty")
    with tarfile.open(archive) as tar:
        blob = lambda path: tar.extractfile(path).read()

        def fetch(described):
            data = blob("blobs/" + described["digest"].replace(":", "/"))
            if digest(data) != described["digest"] or len(data) != described["size"]:
                fail(f"{archive}: the blob {described['digest']} has another content or size")
            return data

        if json.loads(blob("oci-layout"))["imageLayoutVersion"] != "1.0.0":
            fail(f"{archive}: an unknown version of the image layout")
        manifests = json.loads(blob("index.json"))["manifests"]
        if len(manifests) != 1:
            fail(f"{archive}: holds {len(manifests)} images, expected one")
        manifest = json.loads(fetch(manifests[0]))
        ids = json.loads(fetch(manifest["config"]))["rootfs"]["diff_ids"]
        layers = [fetch(described) for described in manifest["layers"]]
        if ids != [digest(data) for data in layers]:
            fail(f"{archive}: the config's diff_ids aren't those of the layers")
    for data in layers:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            # Newer Pythons would drop owners; what they protect from is checked here.
            tar.extraction_filter = lambda member, _: member
            for info in tar:
                parent = (target / info.name).parent.resolve()
                if info.name.startswith("/") or ".." in info.name.split("/") or not parent.is_relative_to(target.resolve()):
                    fail(f"{archive}: a layer reaches outside: {info.name}")
                tar.extract(info, target, numeric_owner=True)
    print(manifests[0]["digest"])


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("target", nargs="?", type=pathlib.Path)
    parser.add_argument("--unpack", action="store_true")
    parser.add_argument("--name")
    parser.add_argument("--layer", action="append", default=[], type=pathlib.Path)
    for option in ("--entrypoint", "--cmd", "--env", "--label", "--set"):
        parser.add_argument(option, action="append", default=[])
    parser.add_argument("--user")
    parser.add_argument("--arch", default="amd64")
    parser.add_argument("--epoch", type=int, default=int(os.environ.get("SOURCE_DATE_EPOCH", 0)))
    options = parser.parse_args()
    if options.unpack:
        if options.target is None:
            fail("--unpack wants ARCHIVE.tar and DIR")
        return unpack(options.out, options.target)
    if not options.name or not options.layer:
        fail("--name and at least one --layer are needed")
    last = options.name.rpartition("/")[2]
    if ":" not in last:
        fail(f"--name {options.name}: want REGISTRY/IMAGE:TAG")
    pack(options)


if __name__ == "__main__":
    main()
