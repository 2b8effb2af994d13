"""Networks that a script trains and does not save are named; a small stand-in for PyTorch keeps the matrix quick."""

from __future__ import annotations

import pytest

TORCH = {
    "torch/__init__.py": """
        class Tensor:
            def __init__(self, *shape): self.shape, self.grad, self.dtype = shape, None, "float32"
            def numel(self): return 1
        class compiler:
            is_compiling = staticmethod(bool)
        from . import nn, optim, serialization
        from .serialization import save
    """,
    "torch/nn.py": """
        class Module:
            def parameters(self):
                import torch
                for one in vars(self).values():
                    if isinstance(one, torch.Tensor): yield one
                    if isinstance(one, Module): yield from one.parameters()
            def state_dict(self):
                import copy
                return {str(n): copy.copy(p) for n, p in enumerate(self.parameters())}
    """,
    "torch/optim/__init__.py": "from .optimizer import Optimizer, Adam",
    "torch/optim/optimizer.py": """
        import functools
        hooks = []
        def register_optimizer_step_post_hook(hook): hooks.append(hook)
        def heard(step):
            @functools.wraps(step)
            def wrapper(self):
                step(self)
                for hook in hooks: hook(self, (), {})
            return wrapper
        class Optimizer:
            def __init__(self, params, defaults):
                self.defaults, self.state, self.param_groups = defaults, {}, [{"params": list(params)}]
            def state_dict(self): return {"state": {}, "param_groups": self.param_groups}
        class Adam(Optimizer):
            def __init__(self, params): super().__init__(params, {"lr": 0.1})
            @heard
            def step(self):
                self.state["step"] = 1
        class Deaf(Adam):  # as where the compiler has taken the hooks away
            def step(self): self.state["step"] = 1
    """,
    "torch/serialization.py": """
        import pickle
        def save(obj, f): open(f, "wb").write(pickle.dumps(obj)) if isinstance(f, str) else None
    """,
}

SCRIPT = """
import os, sys, time, torch
from torch.optim.optimizer import Adam, Deaf
class Net(torch.nn.Module):
    def __init__(self): self.w, self.b = torch.Tensor(3, 2), torch.Tensor(2)
class Around(torch.nn.Module):
    def __init__(self, net): self.net, self.more = net, torch.Tensor(5)
modeldir = __import__("json").loads(os.environ["STUDIOML_ARTIFACT_MAPPING"])["modeldir"]
def trained(net, kind=Adam):
    optimizer = kind(net.parameters()); optimizer.step(); return optimizer
"""


@pytest.fixture
def ran(bench, request):
    import textwrap

    for name, text in TORCH.items():
        file = bench.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    found = bench.run(SCRIPT + request.param)
    assert (found.code, found.err) == (0, "") and found.of_type("warning") == []
    return found


@pytest.mark.parametrize(
    ("ran", "name", "says"),
    [
        ("net = Net(); o = trained(net)", "Net", "nothing saved the variable net to a file"),
        ("net = Around(Net()); o = trained(net.net)", "Net", "the variable net.net"),
        ("def main(): trained(Net())\nmain()", "Net", "nothing saved it to"),
        ("w = torch.Tensor(1); o = Adam([w]); o.step()", "Adam", "the variable w"),
        ("net = Net(); o = trained(net, Deaf)", "Net", "the variable net"),
        ("net = Net(); torch.save(net.state_dict(), 'net.pt'); trained(net)", "Net", "the variable net"),
        ("net = Net(); o = trained(net); torch.save(o.state_dict(), 'o.pt')", "Net", "the variable net"),
        ("a = Net(); trained(a); torch.save(a, 'a.pt'); late = Around(a.w); trained(late)", "Around", "variable late"),
        (
            "net = Net(); trained(net); torch.save(net, 'net.pt'); o = trained(net)",
            "Net-2",
            "of after its last training",
        ),
        (
            "a = Net(); trained(a); late = Around(Net()); trained(late); torch.save(a, 'a.pt')",
            "Around",
            "variable late",
        ),
        ("net = Net(); trained(net); time.sleep(0.1); os._exit(0)", "Net", "nothing saved it"),
        ("for _ in range(30): trained(Net())", "Net", "nothing saved it"),
    ],
    indirect=["ran"],
)
def test_a_network_that_nobody_saved_is_lost(ran, name, says):
    (lost,) = ran.note["lost"]
    assert (lost["name"], lost["library"], says in lost["why"]) == (name, "torch", True)
    assert lost["why"].endswith("which is served as it is")


@pytest.mark.parametrize(
    "ran",
    [
        "net = Net(); trained(net); torch.save({'epoch': 1, 'model': net.state_dict()}, 'net.pt')",
        "net = Net(); o = trained(net); torch.save(net.state_dict(), 'net.pt'); o.step()  # the best one is kept",
        "net = Net(); o = trained(net, Deaf); torch.save(net.state_dict(), 'net.pt')",
        "g, d = Net(), Around(Net()); o = trained(g); trained(d); o.step(); torch.save(g.state_dict(), 'g.pt')",
        "net = Net(); trained(net); open(modeldir + '/net.onnx', 'w').close()",
        "net = Net(); o = Adam(net.parameters())  # never stepped",
    ],
    indirect=True,
)
def test_a_network_that_was_saved_is_not(ran):
    assert ran.note.get("lost", []) == []


BASE = "from sklearn.linear_model import Ridge\nbase = Ridge().fit([[0.0], [1.0]], [0.0, 1.0])\n"
NET = "net = Net(); trained(net); torch.save(net.state_dict(), 'net.pt')\n"


@pytest.mark.parametrize(
    ("ran", "chosen"),
    [(BASE + NET, "net.pt"), (NET + BASE, "model.joblib"), (BASE + "torch.save([1], 'data.pt')", "model.joblib")],
    indirect=["ran"],
)
def test_a_saved_network_that_was_trained_last_is_the_model(ran, chosen):
    assert [model["file"] for model in ran.note["models"] if model["chosen"]] == [chosen]
