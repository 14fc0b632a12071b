"""The Recover page before, half-way through and after a recovery, in both languages; and what Home says of one."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import settings
from core.jobs import store
from core.operation import Silent
from core.weights import recovery, recovery_run, recovery_steps
from core.weights.recovery import Part
from core.weights.recovery_run import RecoveryRequest
from tests.ui.conftest import OpenPage, texts


def run(step: str = "all") -> None:
    recovery_run.run(RecoveryRequest(name="sample-family", step=step), Silent())  # type: ignore[arg-type]


def primary(page: AppTest) -> list[str]:
    return [button.key for button in page.button if button.proto.type == "primary"]


def badges(page: AppTest, word: str) -> int:
    return sum(f"{word}]" in str(element.value) for element in page.markdown)


@pytest.fixture
def half_way(workspace: Path) -> None:
    """The family is made and recovered; the LoRA is not merged yet."""
    recovery.begin(recovery.sample())
    run("base")
    run("recover")


def test_without_a_recovery_the_cheapest_way_comes_first(open_page: OpenPage, language: str) -> None:
    page = open_page("recover")
    ways = page.radio(key="recover.way")
    assert ways.value == "merged"
    assert {"en": "the cheapest way", "zh": "最省事"}[language] in ways.options[0]
    assert primary(page) == ["recover.begin"]
    assert "26 GB" in texts(page)


def test_zhixi_is_begun_with_a_difference_of_either_precision(open_page: OpenPage, language: str) -> None:
    page = open_page("recover")
    assert "ModelScope" in page.button_group(key="recover.source").options
    page.button_group(key="recover.source").set_value("modelscope").run()
    page.radio(key="recover.way").set_value("zhixi-13b").run()
    assert not page.exception
    held = page.button_group(key="recover.source").options
    assert "ModelScope" not in held, "the differences are not published there"
    page.button(key="recover.begin").click().run()
    assert not page.exception
    said = texts(page)
    assert {"en": "Without it ZhiXi is only the pretrained base", "zh": "只是预训练基座"}[language] in said
    assert {"en": "Still to be chosen: Get the base model", "zh": "还需选择：获取基座模型"}[language] in said
    assert page.button(key="recover.all").disabled
    assert recovery.read("zhixi-13b").delta.repo == "zjunlp/zhixi-13b-diff-fp16"


def test_one_button_makes_the_sample_family(open_page: OpenPage, language: str) -> None:
    page = open_page("recover")
    page.radio(key="recover.way").set_value("sample").run()
    assert primary(page) == ["recover.begin"]
    page.button(key="recover.begin").click().run()
    (job,) = store.all_jobs()
    assert store.wait(job.id, 60).state == "done"
    page.run()
    assert not page.exception
    assert badges(page, {"en": "done", "zh": "已完成"}[language]) == 2
    assert primary(page) == ["recover.all"]


def test_half_way_it_says_what_is_done_and_what_the_rest_needs(
    open_page: OpenPage, language: str, half_way: None
) -> None:
    page = open_page("recover")
    said = texts(page)
    assert {
        "en": "**3 of 6 steps done.** Next: Merge the LoRA.",
        "zh": "**已完成 3 步，共 6 步**，下一步：合并 LoRA。",
    }[language] in said
    assert "300 MB" in said
    assert primary(page) == ["recover.all"]
    assert not page.button(key="recover.all").disabled
    assert {"en": "Continue: 3 steps", "zh": "继续运行剩余 3 步"}[language] in page.button(key="recover.all").label
    assert [button.key for button in page.button if str(button.key).startswith("recover.run.")] == ["recover.run.merge"]
    assert {"en": "removing them frees", "zh": "可腾出"}[language] in said
    assert "sha256" in said
    page.toggle(key="recover.plan.merge").set_value(True).run()
    assert not page.exception
    assert "model.layers.0.mlp.down_proj.weight" in page.code[0].value


def test_finished_it_is_tried_in_chat(open_page: OpenPage, language: str, half_way: None) -> None:
    job = store.wait(store.submit(RecoveryRequest(name="sample-family")).id, 60)
    links = [link.proto.label for link in open_page("jobs", job=job.id).get("page_link")]
    assert {"en": "Go to the recovery", "zh": "前往这次恢复"}[language] in links
    page = open_page("recover")
    assert primary(page) == ["recover.chat"]
    said = texts(page)
    assert {"en": "Sample family: recovered in", "zh": "Sample family：恢复完成，用时"}[language] in said
    assert {"en": "of memory", "zh": "占用内存"}[language] in said
    assert badges(page, {"en": "done", "zh": "已完成"}[language]) == 6


def test_a_sum_that_is_not_the_published_one_is_a_warning(open_page: OpenPage, language: str, half_way: None) -> None:
    chosen = recovery.read("sample-family")
    page = open_page("recover")
    assert {"en": "Sum of all elements", "zh": "全部元素之和"}[language] in texts(page) and not page.warning
    part = Part(folder=chosen.delta.folder, repo="zjunlp/zhixi-13b-diff")
    recovery.write(chosen.model_copy(update={"delta": part}))
    page = open_page("recover")
    assert {"en": "which is another model", "zh": "并不是同一个模型"}[language] in page.warning[0].value
    assert "94,052.2891" in page.warning[0].value


def test_removing_what_has_served_keeps_the_steps_done(open_page: OpenPage, half_way: None) -> None:
    settings.write(settings.Settings(language="en"))
    run()
    page = open_page("recover")
    for key in ("base", "delta", "recover", "adapter", "merge"):
        page.button(key=f"recover.remove.{key}").click().run()
        assert not page.exception
    assert badges(page, "done, removed since") == 4
    assert primary(page) == ["recover.chat"]
    assert "To fine-tune it" not in texts(page), "nothing is left to remove"


def test_a_wrong_folder_is_shown_with_its_remedy(open_page: OpenPage, tmp_path: Path) -> None:
    settings.write(settings.Settings(language="en"))
    recovery.begin(recovery.of_zhixi("zhixi", "zhixi-13b-diff"))
    page = open_page("recover")
    box = next(one for one in page.text_input if one.label == "Folder of the base model, or a repository")
    box.set_value(str(tmp_path / "nowhere")).run()
    assert "There is no folder" in page.error[0].value
    assert page.button(key="recover.all").disabled
    box = next(one for one in page.text_input if one.label == "Folder of the base model, or a repository")
    box.set_value("neither one").run()
    assert any("neither a folder nor a repository" in error.value for error in page.error)


def test_an_output_of_other_inputs_is_removed_after_asking(open_page: OpenPage, half_way: None) -> None:
    settings.write(settings.Settings(language="en"))
    chosen = recovery.read("sample-family")
    recovery.write(chosen.model_copy(update={"dtype": "bfloat16"}))
    page = open_page("recover")
    assert "was made from other inputs" in page.error[0].value
    page.button(key="recover.undo.recover").click().run()
    assert not page.exception
    assert recovery_steps.remaining(recovery.read("sample-family"))[0] == "recover"


def test_another_precision_can_be_made_afterwards(open_page: OpenPage, half_way: None) -> None:
    settings.write(settings.Settings(language="en"))
    run()
    page = open_page("recover")
    box = next(one for one in page.selectbox if one.label == "Precision")
    box.set_value("Q4_0").run()
    assert recovery.read("sample-family").quant == "Q4_0"
    assert primary(page) == ["recover.all"]
    assert "Next: Quantize for this machine" in texts(page)


def test_home_says_where_it_stopped_and_leads_on(open_page: OpenPage, language: str, half_way: None) -> None:
    said = texts(open_page("home"))
    assert {"en": "Stopped at step 4 of 6, Merge the LoRA", "zh": "停在第 4 步（共 6 步）：合并 LoRA"}[language] in said


def test_home_is_silent_once_it_is_finished(open_page: OpenPage, half_way: None) -> None:
    settings.write(settings.Settings(language="en"))
    run()
    assert "Stopped at step" not in texts(open_page("home"))


def test_a_recovery_is_forgotten_after_asking(open_page: OpenPage, half_way: None) -> None:
    page = open_page("recover")
    page.button(key="recover.forget").click().run()
    assert not page.exception
    assert recovery.names() == []
    assert page.radio(key="recover.way").value == "merged"


def test_ones_own_parts_are_typed_in(open_page: OpenPage, half_way: None, tmp_path: Path) -> None:
    settings.write(settings.Settings(language="en"))
    page = open_page("recover", recovery="_new")
    page.radio(key="recover.way").set_value("own").run()
    page.text_input(key="recover.begin.name").set_value("../up").run()
    assert "can't be a name" in page.error[0].value
    page.text_input(key="recover.begin.name").set_value("mine").run()
    page.button(key="recover.begin").click().run()
    family = recovery.workplace(recovery.read("sample-family")) / "family"
    for label, part in (("Folder of the base model", "base"), ("Folder of the difference", "delta")):
        box = next(one for one in page.text_input if one.label.startswith(label))
        box.set_value(str(family / part)).run()
        assert not page.exception
    assert recovery.read("mine").delta == Part(folder=family / "delta")
    assert "Continue: 3 steps" in page.button(key="recover.all").label
