import torch

from unimatch.callbacks.step_cost import LiveBytes, peak_bytes


def test_living_bytes_are_counted_and_freed():
    weight = torch.zeros(10)
    with LiveBytes([weight]) as live:
        weight.add_(1)
        assert live.now == 0
        a = torch.zeros(100) + weight.sum()  # 400 bytes, and once more 400, and 4
        assert live.now == 400
        b = a.view(10, 10).t()
        assert live.now == 400
        del a, b
        assert live.now == 0
    assert live.peak == 804


def test_the_peak_of_a_step_is_that_of_weights_gradients_optimizer_state_and_what_the_step_makes():
    method = torch.nn.Linear(4, 5, bias=False)  # 80 bytes
    method.device = torch.device("cpu")
    method.weight.grad = torch.ones(5, 4)
    optimizer = torch.optim.SGD(method.parameters(), lr=1.0, momentum=0.9)
    optimizer.step()
    assert peak_bytes(lambda: torch.zeros(100), method, optimizer) == 3 * 80 + 400
