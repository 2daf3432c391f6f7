"""A chat's answer, split into content, reasoning and tool calls: models that stream one script, over gRPC."""
import os
import pathlib
import pty
import subprocess
import tempfile
import unittest

from daemon import Answer, BIN, Daemon, PATIENCE_SECONDS, pb
from doctored_model import PLAIN, copy_with_script

# As R1 writes: it opens its reasoning itself. Characters are cut by tokens of one byte.
R1 = ["<think>", " Who knows", " it?", "</think>", "\n\nOne moment, caf", "é".encode(), b"!",
      "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "function", "<｜tool▁sep｜>", "get_", "weather", "\n```", "json\n",
      '{"city": "', "中".encode(), '", "when" : 1.50}', "\n``", b"`", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"]
R1_ARGUMENTS = '{"city": "中", "when" : 1.50}'
R1_REASONING, R1_TEXT = " Who knows it?", "\n\nOne moment, café!"

# As Kimi-K2 writes: the prompt opened the reasoning, a tool call ends it.
KIMI = [" Look", "ing", "<|tool_calls_section_begin|>", "<|tool_call_begin|>", "functions.", "look:0",
        "<|tool_call_argument_begin|>", "{}", "<|tool_call_end|>", "<|tool_calls_section_end|>", "Done."]


# As R1's: prints a message's content, or else its calls, and of a content what stands behind the reasoning in it.
R1_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% elif m.content is none %}"
    "{% for c in m.tool_calls %}{{ '<｜Assistant｜><｜tool▁calls▁begin｜>' if loop.first else '\\n' }}"
    "{{ '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + c.function.name + '\\n```json\\n' + c.function.arguments }}"
    "{{ '\\n```<｜tool▁call▁end｜>' }}{% endfor %}{{ '<｜tool▁calls▁end｜>' + eos_token }}{% else %}"
    "{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ WRITTEN }}{% endif %}")


def text_of(script):
    return "".join(text if isinstance(text, str) else text.decode() for text in script)


def chat(**groups):
    groups.setdefault("sampling", pb.Sampling(temperature=0))
    groups.setdefault("output", pb.Output(token_ids=True))
    return pb.ChatRequest(messages=[pb.ChatMessage(role="user", content="Hi")], **groups)


def calls_of(answer):
    """(id, name, arguments) of each call, put together as a client does."""
    calls = []
    for delta in answer.deltas:
        for fragment in delta.tool_calls:
            if fragment.name:
                assert fragment.index == len(calls), "calls come in order"
                calls.append([fragment.id, fragment.name, ""])
            assert fragment.index == len(calls) - 1, "a fragment belongs to the last call"
            calls[-1][2] += fragment.arguments_json_fragment
    return [tuple(call) for call in calls]


def reasoning_of(answer):
    return "".join(delta.reasoning for delta in answer.deltas)


class ScriptTest(unittest.TestCase):
    PROMPT_END, SCRIPT, TEMPLATE = ["<｜Assistant｜>"], R1, PLAIN

    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory())) / "scripted"
        cls.ids = copy_with_script(folder, cls.PROMPT_END, cls.SCRIPT, template=cls.TEMPLATE)
        cls.daemon = cls.enterClassContext(Daemon(model=folder))

    def answer(self, **groups):
        answer = Answer(self.daemon.generation.Chat(chat(**groups), timeout=PATIENCE_SECONDS))
        self.send_back(answer)
        return answer

    def send_back(self, answer):
        """The daemon takes what it said as history, byte for byte."""
        message = pb.ChatMessage(role="assistant", content=answer.text, reasoning=reasoning_of(answer))
        for call_id, name, arguments in calls_of(answer):
            message.tool_calls.add(id=call_id, name=name, arguments_json=arguments)
        tokenized = self.daemon.generation.Tokenize(
            pb.TokenizeRequest(chat=pb.ChatInput(messages=[*chat().messages, message])), timeout=PATIENCE_SECONDS)
        self.assertIn("Hi" + self.in_prompt(answer), tokenized.rendered)

    def in_prompt(self, answer):
        calls = "".join(f"[{name} {arguments}]" for _, name, arguments in calls_of(answer))
        return reasoning_of(answer) + answer.text + calls


class R1Test(ScriptTest):
    def test_answer_is_split_by_its_markers(self):
        answer = self.answer()
        self.assertEqual(answer.token_ids, self.ids, "the model follows its script")
        self.assertEqual((reasoning_of(answer), answer.text), (R1_REASONING, R1_TEXT))
        self.assertEqual(calls_of(answer), [("call_0", "get_weather", R1_ARGUMENTS)])
        self.assertEqual(answer.end.reason, pb.END_REASON_EOS)
        usage = answer.completed.usage
        self.assertEqual((usage.generated_tokens, usage.reasoning_tokens), (len(self.ids), 2))

    def test_tokens_delivered_count_all_of_them(self):
        name = dict(outcome="delivered")
        before = self.daemon.sum("generated_tokens_total", **name)
        answer = self.answer()
        self.assertEqual(self.daemon.sum("generated_tokens_total", **name) - before, answer.end.output_tokens)

    def test_generate_gives_the_same_answer_as_it_is(self):
        tokenized = self.daemon.generation.Tokenize(pb.TokenizeRequest(chat=pb.ChatInput(messages=chat().messages)))
        message = pb.GenerateRequest(token_ids=pb.TokenIds(ids=tokenized.token_ids), sampling=chat().sampling)
        answer = self.daemon.once(message)
        self.assertEqual(answer.text, text_of(R1))
        self.assertEqual((reasoning_of(answer), calls_of(answer)), ("", []))
        self.assertEqual(answer.completed.usage.reasoning_tokens, 0)

    def test_stop_strings_are_found_in_content_only(self):
        for stop in ("knows", "city", "function", "</think>", "```"):
            answer = self.answer(stopping=pb.Stopping(stop=[stop]))
            self.assertEqual((answer.text, answer.end.reason), (R1_TEXT, pb.END_REASON_EOS), stop)
        answer = self.answer(stopping=pb.Stopping(stop=["moment"]))
        self.assertEqual((reasoning_of(answer), answer.text, calls_of(answer)), (R1_REASONING, "\n\nOne ", []))
        self.assertEqual(answer.end.reason, pb.END_REASON_STOP_STRING)

    def test_stop_strings_are_found_after_min_tokens(self):
        """The first min_tokens tokens end nothing; a stop string that a later one completes counts, as vLLM has it."""
        stop_at = len(R1[:R1.index("\n\nOne moment, caf")]) + 1
        for min_tokens, reason in ((stop_at - 1, pb.END_REASON_STOP_STRING), (stop_at, pb.END_REASON_EOS)):
            answer = self.answer(stopping=pb.Stopping(stop=["moment"], min_tokens=min_tokens))
            self.assertEqual(answer.end.reason, reason, min_tokens)
        answer = self.answer(stopping=pb.Stopping(stop=["moment", "fé!"], min_tokens=stop_at))
        self.assertEqual((answer.text, answer.end.stop_string), ("\n\nOne moment, ca", "fé!"))

    def test_each_of_several_answers_is_split_and_counts_its_own_calls(self):
        answer = Answer(self.daemon.generation.Chat(chat(sampling=pb.Sampling(temperature=0, n=3)),
                                                    timeout=PATIENCE_SECONDS))
        self.assertEqual(len(answer.sequences), 3)
        for sequence in answer.sequences:
            self.assertEqual((reasoning_of(sequence), sequence.text), (R1_REASONING, R1_TEXT))
            self.assertEqual(calls_of(sequence), [("call_0", "get_weather", R1_ARGUMENTS)])
        self.assertEqual(answer.completed.usage.reasoning_tokens, 3 * 2)

    def test_without_a_choice_of_tools_there_are_no_calls(self):
        none = pb.ToolChoice(mode=pb.TOOL_CHOICE_MODE_NONE)
        message = chat()
        message.tool_choice.CopyFrom(none)
        answer = Answer(self.daemon.generation.Chat(message, timeout=PATIENCE_SECONDS))
        self.assertEqual((reasoning_of(answer), calls_of(answer)), (R1_REASONING, []))
        self.assertTrue(answer.text.startswith(R1_TEXT), answer.text)
        self.assertIn('"city"', answer.text)

    def test_every_cut_off_answer_is_a_prefix_or_shows_the_opening(self):
        for max_tokens in range(1, len(self.ids)):
            answer = self.answer(stopping=pb.Stopping(max_tokens=max_tokens))
            self.assertEqual(answer.end.reason, pb.END_REASON_MAX_TOKENS)
            self.assertTrue(R1_REASONING.startswith(reasoning_of(answer)))
            calls = calls_of(answer)
            for call in calls:
                self.assertEqual(call[:2], ("call_0", "get_weather"))
                self.assertTrue(R1_ARGUMENTS.startswith(call[2].rstrip("\ufffd")), call)
            if calls:
                self.assertEqual(answer.text, R1_TEXT)
            elif not R1_TEXT.startswith(answer.text.rstrip("\ufffd")):
                opening = text_of(R1[R1.index("<｜tool▁calls▁begin｜>"):])
                self.assertTrue((R1_TEXT + opening).startswith(answer.text), answer.text)

    def test_without_text_there_is_none_of_any_kind(self):
        answer = self.answer(output=pb.Output(text=False, token_ids=True))
        self.assertEqual(answer.token_ids, self.ids)
        self.assertEqual((answer.text, reasoning_of(answer), calls_of(answer)), ("", "", []))

    def latentctl_chat(self, **streams):
        return subprocess.run([BIN / "latentctl", "chat", "--server", self.daemon.address, "--temperature", "0"],
                              input=b"Hi\n", timeout=PATIENCE_SECONDS, check=True, **streams)

    def test_latentctl_marks_reasoning_and_shows_calls(self):
        output = self.latentctl_chat(capture_output=True).stdout.decode()
        self.assertEqual(output, f"<think>{R1_REASONING}</think>\n{R1_TEXT}\ncall_0: get_weather {R1_ARGUMENTS}\n")

    def test_latentctl_dims_reasoning_on_a_terminal(self):
        reader, terminal = pty.openpty()
        self.addCleanup(os.close, reader)
        self.latentctl_chat(stdout=terminal, stderr=subprocess.DEVNULL)
        os.close(terminal)
        output = os.read(reader, 65536).decode().replace("\r\n", "\n")
        self.assertTrue(output.startswith(f"\x1b[2m{R1_REASONING}\x1b[0m\n"), output)
        self.assertNotIn("think", output)


class KimiTest(ScriptTest):
    # The end of reasoning stands in an earlier turn: the model never writes it.
    PROMPT_END, SCRIPT = ["<think>", "</think>", "<|im_middle|>", "<think>", b"\n"], KIMI

    def test_prompt_opened_the_reasoning_and_a_call_ends_it(self):
        answer = self.answer()
        self.assertEqual(answer.token_ids, self.ids, "the model follows its script")
        self.assertEqual((reasoning_of(answer), answer.text), (" Looking", "Done."))
        self.assertEqual(calls_of(answer), [("functions.look:0", "look", "{}")])
        self.assertEqual(answer.completed.usage.reasoning_tokens, 2)


class EmptyCallTest(ScriptTest):
    PROMPT_END = ["<｜Assistant｜>"]
    SCRIPT = ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "now", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>",
              "<｜tool▁calls▁end｜>"]

    def test_call_without_arguments_is_taken_back(self):
        answer = self.answer()
        self.assertEqual(answer.token_ids, self.ids, "the model follows its script")
        self.assertEqual((answer.text, calls_of(answer)), ("", [("call_0", "now", "")]))


class UnopenedReasoningTest(ScriptTest):
    PROMPT_END, SCRIPT = ["<think>", "<｜Assistant｜>"], ["Hmm", " so", "</think>", "Answer"]

    def test_border_without_a_begin_is_content(self):
        answer = self.answer()
        self.assertEqual(answer.token_ids, self.ids, "the model follows its script")
        self.assertEqual((reasoning_of(answer), answer.text), ("", "Hmm so</think>Answer"))
        self.assertEqual(answer.completed.usage.reasoning_tokens, 0)

    def test_stop_strings_see_it_as_content(self):
        answer = self.answer(stopping=pb.Stopping(stop=["so</th"]))
        self.assertEqual((answer.text, answer.end.reason), ("Hmm ", pb.END_REASON_STOP_STRING))


class FormatsReasoningTest(ScriptTest):
    """The prompt says nothing, but the format does: what stands before </think> is not content."""
    # The begin of reasoning stands somewhere else, so that the vocabulary has it.
    PROMPT_END, TEMPLATE = ["<think>", "<｜Assistant｜>"], R1_TEMPLATE
    SCRIPT = ["Hmm", " so", "</think>", "Answer"]

    def in_prompt(self, answer):
        return "<｜Assistant｜>" + answer.text + "<｜end▁of▁sentence｜>"

    def continued(self):
        """The answer that goes on where a message of the assistant's stops."""
        message = chat()
        message.messages.add(role="assistant", content="<｜Assistant｜>")
        message.continue_final_message = True
        return Answer(self.daemon.generation.Chat(message, timeout=PATIENCE_SECONDS))

    def test_what_stands_before_the_border_is_reasoning(self):
        answer = self.answer()
        self.assertEqual(answer.token_ids, self.ids, "the model follows its script")
        self.assertEqual((reasoning_of(answer), answer.text), ("Hmm so", "Answer"))
        self.assertEqual(answer.completed.usage.reasoning_tokens, 2)

    def test_without_the_border_all_is_reasoning(self):
        answer = self.answer(stopping=pb.Stopping(max_tokens=2, stop=["so"]))
        self.assertEqual((reasoning_of(answer), answer.text), ("Hmm so", ""))

    def test_a_message_that_is_continued_goes_on_as_content(self):
        answer = self.continued()
        self.assertEqual((reasoning_of(answer), answer.text), ("", "Hmm so</think>Answer"))


class FormatsReasoningThatIsOpenedTest(FormatsReasoningTest):
    """White space comes first in some formats, as GLM-4.6 has it."""
    SCRIPT = [b"\n", "<think>", "Hmm", " so", "</think>", "Answer"]

    def test_what_stands_before_the_border_is_reasoning(self):
        answer = self.answer()
        self.assertEqual((reasoning_of(answer), answer.text), ("\nHmm so", "Answer"))

    def test_without_the_border_all_is_reasoning(self):
        answer = self.answer(stopping=pb.Stopping(max_tokens=4, stop=["so"]))
        self.assertEqual((reasoning_of(answer), answer.text), ("\nHmm so", ""))

    def test_a_message_that_is_continued_goes_on_as_content(self):
        answer = self.continued()
        self.assertEqual((reasoning_of(answer), answer.text), ("Hmm so", "\nAnswer"))


class EitherTextOrCallsTest(ScriptTest):
    """The template prints either, the answer has both: the prompt, too."""
    TEMPLATE = R1_TEMPLATE

    def in_prompt(self, answer):
        calls = "\n".join(f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```<｜tool▁call▁end｜>"
                          for _, name, arguments in calls_of(answer))
        calls = f"<｜tool▁calls▁begin｜>{calls}<｜tool▁calls▁end｜>" if calls else ""
        return f"<｜Assistant｜>{answer.text}{calls}<｜end▁of▁sentence｜>"

    def test_text_and_calls_come_back_as_the_model_wrote_them(self):
        answer = self.answer()
        self.assertEqual((reasoning_of(answer), answer.text), (R1_REASONING, R1_TEXT))
        self.assertEqual(calls_of(answer), [("call_0", "get_weather", R1_ARGUMENTS)])

    def test_so_does_every_answer_that_is_cut_off(self):
        for max_tokens in range(1, len(self.ids)):
            self.answer(stopping=pb.Stopping(max_tokens=max_tokens))


class OpenedReasoningTest(ScriptTest):
    PROMPT_END, SCRIPT = ["<｜Assistant｜>", "<think>", b"\n"], ["Hmm", " so", "</think>", "Answer"]

    def test_what_stands_before_the_border_is_reasoning(self):
        answer = self.answer()
        self.assertEqual(answer.token_ids, self.ids, "the model follows its script")
        self.assertEqual((reasoning_of(answer), answer.text), ("Hmm so", "Answer"))
        self.assertEqual(answer.completed.usage.reasoning_tokens, 2)


if __name__ == "__main__":
    unittest.main()
