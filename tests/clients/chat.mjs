// The official Node client against a running proxy: every kind of call once, what came back as one JSON object.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 2 });
const messages = [{ role: "user", content: "hello from node" }];
const tools = [
  {
    type: "function",
    function: {
      name: "weather",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  },
];
const schema = {
  type: "json_schema",
  json_schema: {
    name: "person",
    schema: { type: "object", properties: { name: { type: "string" } }, required: ["name"] },
  },
};

async function streamed(request) {
  let text = "";
  let calls = "";
  for await (const part of await client.chat.completions.create({ ...request, stream: true })) {
    text += part.choices[0]?.delta?.content ?? "";
    calls += part.choices[0]?.delta?.tool_calls?.[0]?.function?.arguments ?? "";
  }
  return { text, calls };
}

async function failure(request) {
  try {
    await client.chat.completions.create(request);
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, code: error.code };
  }
  return null;
}

const out = {};
for (const model of ["echo", "echo-anthropic", "reasoning"]) {
  const plain = await client.chat.completions.create({ model, messages });
  const shaped = await client.chat.completions.create({ model, messages, response_format: schema });
  const shapedStream = await streamed({ model, messages, response_format: schema });
  out[model] = {
    plain: plain.choices[0].message.content,
    model: plain.model,
    stream: (await streamed({ model, messages })).text,
    schema: JSON.parse(shaped.choices[0].message.content),
    schemaStream: JSON.parse(shapedStream.text),
  };
}
const called = await client.chat.completions.create({ model: "tool", messages, tools });
out.tool = {
  name: called.choices[0].message.tool_calls[0].function.name,
  finish: called.choices[0].finish_reason,
  stream: JSON.parse((await streamed({ model: "tool", messages, tools })).calls),
};
const vectors = await client.embeddings.create({ model: "embed", input: ["a", "b"] });
out.embeddings = vectors.data.map((each) => each.embedding.length);
out.models = (await client.models.list()).data.map((each) => each.id);
out.misspelt = await failure({ model: "ecko", messages });
out.operator = await failure({ model: "echo", messages, api_base: "http://127.0.0.1:1" });
out.broken = await failure({ model: "error-500", messages });
console.log(JSON.stringify(out));
