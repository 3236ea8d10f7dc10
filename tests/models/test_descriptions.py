import json

import pytest
import torch

from unimatch.models import ChangeModel, ClassificationModel, SegmentationModel
from unimatch.models.descriptions import MODELS, build_described, builds, describe_model


@pytest.mark.parametrize("kind", [SegmentationModel, ChangeModel, ClassificationModel])
def test_a_model_is_built_again_from_plain_values(kind):
    model = kind("tiny" if kind is not ClassificationModel else "wrn_28_2", num_classes=3)
    described = json.loads(json.dumps(describe_model(model)))
    assert described["task"] == model.task
    again = build_described(described)
    assert type(again) is kind is MODELS[model.task]
    again.load_state_dict(model.state_dict())
    images = torch.rand(1, *model.sample_shape, 32, 32)
    assert torch.equal(again.eval()(images), model.eval()(images))


def test_a_description_of_other_layers_builds_no_model_like_this_one():
    model = SegmentationModel("tiny", num_classes=3)
    assert builds(describe_model(model), model)
    assert not builds({**describe_model(model), "num_classes": 4}, model)
    assert not builds({**describe_model(model), "encoder": "of my own"}, model)
