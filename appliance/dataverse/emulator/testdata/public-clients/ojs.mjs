// o.js (npm: odata), a client of OData in general, against the emulator at EMULATOR_URL.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { suite } from "./tap.mjs";

const { o } = createRequire(import.meta.url)("odata");
const root = process.env.EMULATOR_URL + "/api/data/v9.2/";
const headers = { Authorization: "Bearer ojs", "Content-Type": "application/json" };
const client = () => o(root, { headers: { ...headers, Prefer: "return=representation" } });
const { test } = suite("o.js");
let acme;

await test("post and get", async () => {
  acme = (await client().post("accounts", { name: "Acme", accountnumber: "J-1", numberofemployees: 7 }).query()).accountid;
  assert.match(acme, /^[0-9a-f-]{36}$/);
  assert.equal((await client().get(`accounts(${acme})`).query({ $select: "name" })).name, "Acme");
});

await test("query with a filter, an order and a count", async () => {
  await client().post("accounts", { name: "O'Neil", accountnumber: "J-2", "parentaccountid@odata.bind": `accounts(${acme})` }).query();
  const rows = await client().get("accounts").query({ $select: "name", $filter: "name eq 'O''Neil'", $orderby: "name desc", $top: 3 });
  assert.deepEqual(rows.map((r) => r.name), ["O'Neil"]);
  const wide = await client().get("accounts").query({ $filter: "numberofemployees gt 5", $expand: "Account_Tasks($select=subject)" });
  assert.deepEqual(wide[0].Account_Tasks, []);
});

await test("patch", async () => {
  assert.equal((await client().patch(`accounts(${acme})`, { telephone1: "1" }).query()).telephone1, "1");
  const refused = await client().patch(`accounts(${acme})`, { Name: "x" }).query().catch((e) => e);
  assert.equal(refused.status, 400);
});

await test("several gets at once", async () => {
  const answers = await client().get(`accounts(${acme})?$select=name`).get("accounts?$select=name&$top=1").fetch();
  assert.deepEqual(answers.map((a) => a.status), [200, 200]);
});

await test("delete", async () => {
  assert.equal((await o(root, { headers }).delete(`accounts(${acme})`).fetch()).status, 204);
});
