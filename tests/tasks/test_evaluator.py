import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from helpers.support import PixelModel
from unimatch import Segmentation
from unimatch.tasks.evaluator import Evaluator


@pytest.fixture
def samples():
    generator = torch.Generator().manual_seed(0)
    sizes = [(6, 8), (9, 5), (7, 7)]
    return [
        {
            "image": torch.randn(3, *size, generator=generator),
            "label": torch.randint(0, 4, size, generator=generator),
            "index": torch.tensor(i),
        }
        for i, size in enumerate(sizes)
    ]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_every_sample_is_counted_once_for_each_model(batch_size, samples):
    models = {"first": PixelModel().eval(), "second": PixelModel().eval()}
    with torch.no_grad():
        models["second"].layer.bias += torch.tensor([0.0, 3.0, 0.0, 0.0])
    evaluator = Evaluator(models, Segmentation())
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    for _ in range(2):  # a second evaluation begins at zero
        trainer.test(evaluator, DataLoader(samples, batch_size, collate_fn=list), verbose=False)
        for name, model in models.items():
            expected = torch.zeros(4, 4, dtype=torch.int64)
            for sample in samples:
                guess = model(sample["image"][None]).argmax(1)[0]
                for t, p in zip(sample["label"].flatten().tolist(), guess.flatten().tolist(), strict=True):
                    expected[t, p] += 1
            assert torch.equal(evaluator.counts[name]["confusion"], expected)


def test_on_a_gpu_samples_of_one_size_are_predicted_together(monkeypatch):
    """As if the CPU were one: in their order, and with the same counts."""
    generator = torch.Generator().manual_seed(0)
    samples = [
        {"image": torch.randn(3, *size, generator=generator), "label": torch.randint(0, 4, size, generator=generator)}
        for size in [(6, 8), (6, 8), (7, 7), (6, 8), (6, 8), (6, 8)]
    ]
    evaluator = Evaluator({"model": PixelModel().eval()}, Segmentation())
    seen, predict = [], evaluator.task.predict
    monkeypatch.setattr(evaluator.task, "predict", lambda model, x: (seen.append(len(x)), predict(model, x))[1])
    alone = evaluator.validation_step(samples, 0)["model"]
    assert seen == [1] * 6
    monkeypatch.setattr("unimatch.tasks.evaluator.TOGETHER_ON", {"cpu"})
    seen.clear()
    together = evaluator.validation_step(samples, 0)["model"]
    assert seen == [2, 1, 3]
    assert [counts["confusion"].tolist() for counts in together] == [counts["confusion"].tolist() for counts in alone]


def test_a_step_returns_the_counts_of_each_sample(samples):
    evaluator = Evaluator({"model": PixelModel().eval()}, Segmentation())
    found = evaluator.validation_step(samples, 0)["model"]
    assert [int(counts["confusion"].sum()) for counts in found] == [48, 45, 49]
