import os

import pytest
from omegaconf import OmegaConf

from data_pipeline.cli_errors import user_errors


def failing(error: BaseException):
    @user_errors
    def program() -> None:
        raise error

    return program


def test_a_users_mistake_is_one_line_and_exit_code_one(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        failing(ValueError("cat.jpg is empty;\n get a whole copy"))()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: cat.jpg is empty; get a whole copy\n"


def test_a_missing_option_is_named(capsys) -> None:
    config = OmegaConf.create({"source": {"path": "???"}})

    @user_errors
    def program() -> None:
        print(config.source.path)

    with pytest.raises(SystemExit):
        program()
    assert "option source.path is required" in capsys.readouterr().err


def test_stopping_by_hand_says_how_to_go_on(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        failing(KeyboardInterrupt())()
    assert caught.value.code == 130
    assert "same command" in capsys.readouterr().err


def test_our_own_bugs_keep_their_traceback() -> None:
    with pytest.raises(AssertionError):
        failing(AssertionError("a bug"))()


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAWTRAIT_DEBUG", "1")
    with pytest.raises(ValueError, match="x"):
        failing(ValueError("x"))()


@pytest.mark.parametrize("is_set", [False, True])
def test_hydra_s_switch_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch, is_set: bool) -> None:
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    if is_set:
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit):
        failing(ValueError("x"))()
    assert os.environ.get("HYDRA_FULL_ERROR") == ("0" if is_set else None)
