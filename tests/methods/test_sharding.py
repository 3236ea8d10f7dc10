"""Parameters divided among one process; ``tests/test_trainer.py`` trains with several."""

import torch
from torch.distributed import destroy_process_group, init_process_group
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from unimatch import SegmentationModel
from unimatch.methods.sharding import local, shard, whole


def test_an_undivided_tensor_is_its_own_part_and_whole():
    tensor = torch.arange(3.0)
    assert local(tensor) is tensor
    assert whole(tensor) is tensor


def test_parameters_are_divided_once_and_keep_their_values(tmp_path):
    init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = SegmentationModel("tiny", 2, features=8, out_channels=(8, 8, 8, 8))
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        mesh = init_device_mesh("cpu", (1,))
        for _ in range(2):  # Lightning asks again before every stage
            shard(model, mesh)
            for name, value in model.named_parameters():
                assert isinstance(value, DTensor)
                assert torch.equal(whole(value), before[name])
                assert torch.equal(local(value), before[name])
    finally:
        destroy_process_group()
