"""Layers: an include may only point down, and says so by being written from the root."""

from tree import Finding

# Folder -> what it may include of ours. The longest folder that fits a file counts; an entry that
# ends in ".h" is that header alone. "*" is everything.
LAYERS = {
    "include": (),
    "base": ("base",),
    "codec": ("codec", "base"),
    "dataplane": ("dataplane", "codec", "base", "include"),
    "dataplane/tcp": ("dataplane/tcp", "base"),
    "control": ("control", "dataplane", "codec", "base", "include"),
    "gateway": ("gateway", "control/config.h", "dataplane/submitter.h", "base", "include"),
    "mock": ("mock", "dataplane/net.h", "dataplane/net_sim.h", "codec", "base"),
    "bench": ("bench", "mock", "codec", "base", "include"),
    "bench/micro": ("*",),  # measures one layer at a time, as tests do
    "cmd": ("*",),
    "tests": ("*",),
    "docs": ("*",),
    "docs/examples": (),
}


def layer_of(path):
    fitting = [f for f in LAYERS if path.startswith(f + "/")]
    return max(fitting, key=len, default=None)


def allowed(layer, target):
    for entry in LAYERS[layer]:
        if entry == "*" or entry == target:
            return True
        if not entry.endswith(".h") and target.startswith(entry + "/"):
            # dataplane does not mean dataplane/tcp to anybody but dataplane.
            return layer_of(target) in (entry, layer) or layer == "dataplane"
    return False


def check(tree):
    tops = {f.path.split("/")[0] for f in tree.files if "/" in f.path}
    for file in tree.files:
        if not file.is_c:
            continue
        layer = layer_of(file.path)
        if layer is None:
            yield Finding(file.path, 0, "layers", "no layer is known for this folder")
            continue
        for line, bracket, target in file.includes():
            ours = target in tree.by_path or target + ".in" in tree.by_path
            if bracket == "<":
                if ours or target.split("/")[0] in LAYERS:
                    yield Finding(file.path, line, "layers", f'write ours as "{target}"')
            elif layer == "docs/examples":
                yield Finding(file.path, line, "layers",
                              f'"{target}": an example sees <salvo.h> only')
            elif not ours:
                hint = "not written from the root" if target.split("/")[0] not in tops \
                    else "no such file"
                yield Finding(file.path, line, "layers", f'"{target}": {hint}')
            elif not allowed(layer, target):
                yield Finding(file.path, line, "layers", f'{layer}/ may not include "{target}"')
