"""Clients of the gateway, by the official packages; run by the Python of gateway_test.py's own environment.

usage: gateway_clients.py SCENARIO BASE_URL      what it learns is printed as JSON
"""
import concurrent.futures
import json
import sys
import threading

import anthropic
import openai

MODEL = "tales"
MESSAGES = [{"role": "user", "content": "Tell me a story"}]
CHOICE = dict(model=MODEL, temperature=0, seed=7)


def openai_client(base):
    return openai.OpenAI(base_url=base + "/v1", api_key="none", max_retries=0, timeout=60)


def answers(base):
    """Every kind of call, streamed and not."""
    client = openai_client(base)
    claude = anthropic.Anthropic(base_url=base, api_key="none", max_retries=0, timeout=60)
    chat = client.chat.completions.create(messages=MESSAGES, max_tokens=24, logprobs=True, top_logprobs=2, **CHOICE)
    stream = list(client.chat.completions.create(messages=MESSAGES, max_tokens=24, stream=True,
                                                 stream_options={"include_usage": True}, **CHOICE))
    stopped = client.chat.completions.create(messages=MESSAGES, max_tokens=24, stop=["time"], **CHOICE)
    several = client.chat.completions.create(messages=MESSAGES, max_tokens=8, n=3, model=MODEL, temperature=1, seed=7)
    completion = client.completions.create(prompt="Once upon a time", max_tokens=16, **CHOICE)
    parts = list(client.completions.create(prompt="Once upon a time", max_tokens=16, stream=True, **CHOICE))
    response = client.responses.create(input="Tell me a story", max_output_tokens=24, model=MODEL, temperature=0)
    events = list(client.responses.create(input="Tell me a story", max_output_tokens=24, model=MODEL, temperature=0,
                                          stream=True))
    greedy = {"temperature": 0}
    message = claude.messages.create(messages=MESSAGES, max_tokens=24, model=MODEL, extra_body=greedy)
    with claude.messages.stream(messages=MESSAGES, max_tokens=24, model=MODEL, extra_body=greedy) as reading:
        streamed_message = "".join(reading.text_stream)
    try:
        client.chat.completions.create(messages=MESSAGES, response_format={"type": "json_object"}, **CHOICE)
        refusal = None
    except openai.APIStatusError as error:
        refusal = (error.status_code, str(error))
    return {
        "models": [model.id for model in client.models.list()],
        "chat": chat.choices[0].message.content, "finish": chat.choices[0].finish_reason,
        "usage": (chat.usage.prompt_tokens, chat.usage.completion_tokens),
        "chat_logprobs": len(chat.choices[0].logprobs.content) if chat.choices[0].logprobs else 0,
        "chat_streamed": "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices),
        "chat_stream_usage": stream[-1].usage.completion_tokens if stream[-1].usage else None,
        "stopped": (stopped.choices[0].message.content, stopped.choices[0].finish_reason),
        "several": len({choice.message.content for choice in several.choices}),
        "completion": completion.choices[0].text,
        "completion_streamed": "".join(part.choices[0].text for part in parts if part.choices),
        "response": response.output_text,
        "response_streamed": "".join(event.delta for event in events if event.type == "response.output_text.delta"),
        "message": message.content[0].text, "message_stop": message.stop_reason, "message_streamed": streamed_message,
        "constraint": refusal,
    }


def cancel(base):
    """Reads the first words of a long answer and closes."""
    stream = openai_client(base).chat.completions.create(messages=MESSAGES, max_tokens=1900, stream=True,
                                                         extra_body={"ignore_eos": True}, **CHOICE)
    words = []
    for chunk in stream:
        words.append(chunk.choices[0].delta.content)
        if len(words) > 4:
            stream.close()
            break
    return {"words": len(words)}


def groups(base):
    """Groups of requests with a prefix of their own, side by side. A group's answers have a length of their own."""
    client = openai_client(base)
    num_groups, num_requests = 8, 12

    def ask(group, number):
        prefix = f"Group {group}: " + f"there was a king with {group} daughters and they lived far away. " * 25
        client.completions.create(prompt=f"{prefix} Number {number}", max_tokens=4 + group, temperature=0, model=MODEL,
                                  extra_body={"ignore_eos": True})

    def ask_all(group):
        for number in range(num_requests):
            ask(group, number)

    with concurrent.futures.ThreadPoolExecutor(num_groups) as pool:
        list(pool.map(ask_all, range(num_groups)))
    return {"groups": num_groups, "requests": num_requests}


def load(base):
    """Asks until standard input ends; each answer or error is a line."""
    client = openai_client(base)
    printing = threading.Lock()
    over = False

    def ask(number):
        asked = 0
        while not over:
            asked += 1
            try:
                stream = client.chat.completions.create(
                    messages=[{"role": "user", "content": f"Story {number} of {asked}"}], max_tokens=40, model=MODEL,
                    stream=number % 2 == 0, extra_body={"ignore_eos": True})
                if number % 2 == 0:
                    ends = [chunk.choices[0].finish_reason for chunk in stream if chunk.choices]
                    result = ends[-1] if ends else "nothing"
                else:
                    result = stream.choices[0].finish_reason
            except Exception as error:  # whatever it is, it is told
                result = f"error {type(error).__name__}: {error}"
            with printing:
                print(json.dumps(result), flush=True)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        workers = [pool.submit(ask, number) for number in range(8)]
        sys.stdin.read()
        over = True
        for worker in workers:
            worker.result()
    return "over"


def protocol(_):
    """Compares the messages of standard input with those that smg-grpc-proto publishes; prints what differs."""
    from smg_grpc_proto.generated import common_pb2, vllm_engine_pb2
    published = {}
    for file in (common_pb2.DESCRIPTOR, vllm_engine_pb2.DESCRIPTOR):
        published.update({message.full_name: message for message in file.message_types_by_name.values()})
        for service in file.services_by_name.values():
            published.update({method.full_name: method for method in service.methods})
    differences = []
    asked = json.load(sys.stdin)
    for name, ours in asked["messages"].items():
        theirs = {field.name: [field.number, field.type, field.message_type.full_name if field.message_type else ""]
                  for field in published[name].fields}
        differences += [f"{name}.{field}: {place} != {theirs.get(field)}" for field, place in ours.items()
                        if theirs.get(field) != place]
        if name in asked["whole"]:
            differences += [f"{name}.{field} is missing" for field in theirs.keys() - ours.keys()]
    differences += [f"{method} is not published" for method in asked["methods"] if method not in published]
    return differences


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](sys.argv[2])), flush=True)
