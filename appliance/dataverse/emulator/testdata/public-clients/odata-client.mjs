// @odata/client, a client of OData in general that knows nothing of Dataverse, against
// the emulator at EMULATOR_URL: rows, queries, functions, and its own form of $batch.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { randomUUID } from "node:crypto";
import { suite } from "./tap.mjs";

const { OData, Guid } = createRequire(import.meta.url)("@odata/client");
const client = OData.New4({
  serviceEndpoint: process.env.EMULATOR_URL + "/api/data/v9.2/",
  commonHeaders: { Authorization: "Bearer odata", Prefer: "return=representation" },
});
const { test } = suite("@odata/client");
const accounts = client.getEntitySet("accounts");
let acme;

await test("create, retrieve, update, find, count", async () => {
  const row = await accounts.create({ name: "Acme", accountnumber: "O-1", numberofemployees: 5 });
  acme = row.accountid;
  assert.match(acme, /^[0-9a-f-]{36}$/);
  await accounts.create({ name: "O'Neil", accountnumber: "O-2", "parentaccountid@odata.bind": `accounts(${acme})` });
  await accounts.update(new Guid(acme), { telephone1: "7" });
  const read = await accounts.retrieve(new Guid(acme), client.newOptions().select(["name", "telephone1"]));
  assert.deepEqual([read.name, read.telephone1], ["Acme", "7"]);
  assert.equal((await accounts.find({ accountnumber: "O-2" }))[0].name, "O'Neil");
  assert.equal(await accounts.count(client.newFilter().property("numberofemployees").gt(4)), 1);
});

await test("query: filter, select, order, top, count, expand", async () => {
  const filter = client.newFilter().property("name").eqString("O''Neil").property("accountnumber").ne("none");
  const options = client.newOptions().filter(filter).select(["name"]).orderby("name", "desc").top(3).count(true).expand("parentaccountid($select=name)");
  const page = await client.newRequest({ collection: "accounts", params: options });
  assert.deepEqual([page["@odata.count"], page.value[0].parentaccountid.name], [1, "Acme"]);
  const grouped = await client.newRequest({ collection: "accounts", params: client.newOptions().apply("groupby((statecode),aggregate($count as n))") });
  assert.equal(grouped.value[0].n, 2);
  const bad = await client.newRequest({ collection: "accounts", params: client.newOptions().skip(1) });
  assert.match(bad.error.message, /Skip Clause is not supported/);
});

await test("functionImport, bound function, actionImport", async () => {
  const me = await client.functionImport("WhoAmI");
  assert.match(me.UserId, /^[0-9a-f-]{36}$/);
  const rights = await client.getEntitySet("systemusers").function("Microsoft.Dynamics.CRM.RetrieveUserPrivileges", new Guid(me.UserId));
  assert.ok(rights.RolePrivileges.length > 10);
  await client.actionImport("PublishAllXml");
});

await test("$batch: reads and a change set of its form", async () => {
  const id = randomUUID();
  const answers = await client.execBatchRequests([
    client.newBatchRequest({ collection: "accounts", id: new Guid(acme), params: client.newOptions().select(["name"]) }),
    client.newBatchRequest({ collection: "accounts", method: "POST", entity: { accountid: id, name: "In a batch" } }),
  ]);
  const [read, made] = await Promise.all(answers.map((a) => a.json()));
  assert.equal(read.name, "Acme");
  assert.equal(answers[1].status, 201);
  assert.equal(made.accountid, id);
});

await test("delete", async () => {
  await accounts.delete(new Guid(acme));
  assert.equal((await client.newRequest({ collection: "accounts", params: client.newOptions().filter("accountnumber eq 'O-1'") })).value.length, 0);
});
