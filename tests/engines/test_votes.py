import numpy as np
import pytest
import torch

from unimatch.engines.test_time import Inference
from unimatch.engines.votes import blocks_of_each, count_votes, mean_of


class Fake:
    """Gives each pixel probabilities drawn from its colour, as the array type of a library."""

    batch_size = threads = 1
    num_classes = 4

    def __init__(self, seed):
        self.table = np.random.default_rng(seed).random((4, 256)).astype(np.float32)

    def use_threads(self, count):
        pass

    def logits(self, images, scale=1.0, *, flipped=False):
        return self.array(np.log(self.table[:, images[:, 0]].swapaxes(0, 1)))

    def softmax(self, logits):
        p = np.exp(np.asarray(logits))
        return self.array(p / p.sum(1, keepdims=True))

    def zeros(self, *shape):
        return self.array(np.zeros(shape, np.float32))

    def array(self, values):
        return values

    def numpy(self, array):
        return np.asarray(array)

    def labels(self, scores):
        return np.asarray(scores).argmax(1).astype(np.uint8)


class TorchFake(Fake):
    def array(self, values):
        return torch.tensor(values)


@pytest.mark.parametrize("rule", [Inference(), Inference("sliding", window=12, stride=7)])
@pytest.mark.parametrize("kinds", [(Fake, Fake, Fake), (TorchFake, Fake, TorchFake), (Fake, TorchFake)])
def test_mean_and_votes_equal_loops_over_pixels_and_models(rule, kinds):
    engines = [kind(seed) for seed, kind in enumerate(kinds)]
    images = np.random.default_rng(9).integers(0, 256, (2, 3, 20, 31), dtype=np.uint8)
    seen = np.zeros((20, 31), int)
    for top, left, each in blocks_of_each(engines, rule, images):
        mean = mean_of(engines, each)
        assert type(mean) is type(each[0])
        labels = engines[0].labels(mean)
        votes = count_votes(engines, each, labels)
        for image in range(2):
            for row in range(mean.shape[2]):
                for column in range(mean.shape[3]):
                    color = images[image, 0, top + row, left + column]
                    own = [engine.table[:, color] / engine.table[:, color].sum() for engine in engines]
                    expected = sum(own) / len(own)
                    np.testing.assert_allclose(np.asarray(mean)[image, :, row, column], expected, rtol=1e-5)
                    label = expected.argmax()
                    assert labels[image, row, column] == label
                    assert votes[image, row, column] == sum(p.argmax() == label for p in own)
        seen[top : top + mean.shape[2], left : left + mean.shape[3]] += 1
    assert (seen == 1).all()


def test_the_mean_of_one_model_is_its_own():
    block = np.ones((1, 4, 2, 2), np.float32)
    assert mean_of([Fake(0)], [block]) is block
