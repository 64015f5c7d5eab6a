import pytest

from finetune.strategies import Several, num_processes, trainer_options

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}
SRUN = {"SLURM_NTASKS": "8", "SLURM_NNODES": "2", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "train"}


@pytest.mark.parametrize(("options", "number"), [
    ({}, 1), ({"devices": 2}, 2), ({"devices": 4, "num_nodes": 3}, 12), ({"devices": [0, 3]}, 2),
    ({"devices": "0,1,2"}, 3),
    ({"devices": "2"}, 2), ({"accelerator": "cpu", "devices": "auto"}, 1),
])  # fmt: skip
def test_processes_are_counted(options, number):
    assert num_processes(options) == number


def test_one_process_needs_no_others():
    options, world = trainer_options({"accelerator": "cpu", "strategy": Several(), "sync_batchnorm": True}, {})
    assert (options, world) == ({"accelerator": "cpu", "strategy": "auto"}, 1)


def test_torchrun_says_how_many_there_are():
    from lightning.pytorch.strategies import DDPStrategy

    options, world = trainer_options({"devices": 1, "strategy": Several(timeout_s=7)}, TORCHRUN)
    assert (options["devices"], options["num_nodes"], world) == (8, 2, 16)
    assert isinstance(options["strategy"], DDPStrategy)
    assert options["strategy"]._timeout.total_seconds() == 7
    assert options["strategy"]._ddp_kwargs == {"find_unused_parameters": True}


def test_srun_says_it_too_and_signals_stay_ours():
    from lightning.pytorch.strategies import ModelParallelStrategy

    options, world = trainer_options({"devices": "auto", "strategy": Several(kind="fsdp")}, SRUN)
    assert (options["devices"], options["num_nodes"], world) == (4, 2, 8)
    assert isinstance(options["strategy"], ModelParallelStrategy)
    assert options["strategy"]._data_parallel_size == 8
    assert options["plugins"][0].auto_requeue is False
    # sbatch without srun starts one process.
    assert trainer_options({}, {**SRUN, "SLURM_NTASKS": "1"})[1] == 1


def test_a_wrong_time_is_refused():
    with pytest.raises(ValueError, match="timeout_s is -1"):
        Several(timeout_s=-1)
