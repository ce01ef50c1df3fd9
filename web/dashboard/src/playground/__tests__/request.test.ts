import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";

import { callOf, curlOf, defaults, faults, stopsOf } from "../request";

const settings = { ...defaults, model: "tiny" };

test("plain text goes to completions, a chat message to chat", () => {
  const text = callOf("Hello", settings);
  expect(text.path).toBe("/v1/completions");
  expect(text.body).toMatchObject({ prompt: "Hello", logprobs: 8, stream: true });
  const chat = callOf("Hello", { ...settings, form: "chat" });
  expect(chat.path).toBe("/v1/chat/completions");
  expect(chat.body).toMatchObject({
    messages: [{ role: "user", content: "Hello" }],
    top_logprobs: 8,
  });
});

test("seed and stop are left out where they are empty", () => {
  const { body } = callOf("x", settings);
  expect(body).not.toHaveProperty("seed");
  expect(body).not.toHaveProperty("stop");
  const set = callOf("x", { ...settings, seed: "7", stop: "\\n\nEnd" }).body;
  expect(set).toMatchObject({ seed: 7, stop: ["\n", "End"] });
});

test("the shell hands curl the very same body, whatever the prompt holds", () => {
  const prompt = "it's \"$HOME\" `ls` \\ 'end'\nnew line";
  const command = curlOf(callOf(prompt, settings), "http://localhost:8787", false);
  const shown = execFileSync("sh", ["-c", `curl() { printf '%s' "$6"; }\n${command}`]).toString();
  expect((JSON.parse(shown) as { prompt: string }).prompt).toBe(prompt);
});

test("the key is named in the command, never shown", () => {
  const command = curlOf(callOf("x", settings), "http://localhost:8787", true);
  expect(command).toContain("$GLASSBOX_API_KEY");
});

test("what cannot be sent is said beside its field", () => {
  expect(faults(settings)).toEqual({});
  expect(faults({ ...settings, maxTokens: "0" })).toHaveProperty("maxTokens");
  expect(faults({ ...settings, seed: "1.5" })).toHaveProperty("seed");
  expect(faults({ ...settings, stop: "a\nb\nc\nd\ne" })).toHaveProperty("stop");
});

test("stop strings are lines", () => {
  expect(stopsOf("a\n\n\\n\\n\n")).toEqual(["a", "\n\n"]);
});
