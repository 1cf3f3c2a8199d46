"""Golden vectors for the optimizers: weights after each of 20 PyTorch steps, and the state after the last.

python test/golden/make-optimizer.py > test/golden/optimizer.json
"""
import json

import torch

torch.manual_seed(0)
STEPS = 20
shapes = {"a": [3, 2], "b": [5]}
initial = {name: torch.randn(shape) for name, shape in shapes.items()}
gradients = [{name: torch.randn(shape) * 10 ** torch.randint(-3, 2, (1,)).item() for name, shape in shapes.items()} for _ in range(STEPS)]


def flat(tensors):
    return {name: tensor.detach().flatten().tolist() for name, tensor in tensors.items()}


def run(optimizer_class, betas, lr, eps):
    parameters = {name: torch.nn.Parameter(value.clone()) for name, value in initial.items()}
    optimizer = optimizer_class(parameters.values(), lr=lr, betas=betas, eps=eps)
    weights = []
    for gradient in gradients:
        for name, parameter in parameters.items():
            parameter.grad = gradient[name].clone()
        optimizer.step()
        weights.append(flat(parameters))
    state = {name: optimizer.state[parameter] for name, parameter in parameters.items()}
    return {
        "optimizer": optimizer_class.__name__,
        "options": {"learningRate": lr, "beta1": betas[0], "beta2": betas[1], "epsilon": eps},
        "weights": weights,
        "m": flat({name: s["exp_avg"] for name, s in state.items()}),
        "v": flat({name: s["exp_avg_sq"] for name, s in state.items()}),
    }


print(json.dumps({
    "shapes": shapes,
    "initial": flat(initial),
    "gradients": [flat(g) for g in gradients],
    "runs": [
        run(torch.optim.Adam, (0.0, 0.99), 1e-2, 1e-8),
        run(torch.optim.Adam, (0.9, 0.999), 1e-2, 1e-3),
        run(torch.optim.RAdam, (0.9, 0.999), 1e-2, 1e-8),
        run(torch.optim.RAdam, (0.0, 0.9), 1e-2, 1e-4),
    ],
}))
