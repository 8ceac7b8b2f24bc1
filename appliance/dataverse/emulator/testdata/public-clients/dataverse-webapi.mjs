// Every function of dataverse-webapi, a client that nobody here wrote, against the
// emulator at EMULATOR_URL. It is used as it is; only node's https is led to the
// emulator, since it can speak nothing else.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { randomUUID } from "node:crypto";
import { suite } from "./tap.mjs";

const require = createRequire(import.meta.url);
const http = require("node:http"), https = require("node:https");
const server = new URL(process.env.EMULATOR_URL);
https.request = (options, then) => http.request({ ...options, hostname: server.hostname, port: server.port }, then);

const config = () => ({ version: "9.2", url: `https://${server.hostname}/api/data/v9.2`, accessToken: "xrm" });

async function refused(code, promise) {
  await assert.rejects(promise, (e) => {
    assert.equal(String(e.code).toLowerCase(), code.toLowerCase(), JSON.stringify(e));
    assert.ok(e.message);
    return true;
  });
}

const { default: api } = await import("dataverse-webapi/lib/node");
const name = "dataverse-webapi";
const { test, watch, finish } = suite(name);
const web = watch(api);
let acme, ann;

await test("create, createWithReturnData, retrieve, retrieveAlternateKey", async () => {
  acme = await web.create(config(), "accounts", { name: "Acme", accountnumber: name, revenue: 12.5 });
  assert.match(acme, /^[0-9a-f-]{36}$/);
  const row = await web.createWithReturnData(config(), "contacts", { firstname: name, lastname: "Ek", emailaddress1: "ann@example.com",
    "parentcustomerid_account@odata.bind": `/accounts(${acme})` }, "$select=fullname");
  ann = row.contactid;
  assert.equal(row.fullname, name + " Ek");
  const read = await web.retrieve(config(), "contacts", `{${ann.toUpperCase()}}`, "$select=fullname,_parentcustomerid_value");
  assert.equal(read["_parentcustomerid_value@OData.Community.Display.V1.FormattedValue"], "Acme");
  assert.equal(read["_parentcustomerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"], "account");
  assert.equal((await web.retrieveAlternateKey(config(), "accounts", `accountnumber='${name}'`, "?$select=name")).accountid, acme);
  await refused("0x80060891", web.retrieveAlternateKey(config(), "accounts", "accountnumber='none'"));
  await refused("0x80040217", web.retrieve(config(), "accounts", randomUUID()));
});

await test("update, updateWithReturnData, updateProperty, deleteProperty", async () => {
  await web.update(config(), "accounts", acme, { telephone1: "1" });
  const row = await web.updateWithReturnData(config(), "accounts", acme, { name: "Acme AG" }, "$select=name,telephone1");
  assert.deepEqual([row.name, row.telephone1], ["Acme AG", "1"]);
  await web.updateProperty(config(), "accounts", acme, "telephone1", "2");
  assert.equal((await web.retrieve(config(), "accounts", acme, "$select=telephone1")).telephone1, "2");
  await web.deleteProperty(config(), "accounts", acme, "telephone1");
  assert.equal((await web.retrieve(config(), "accounts", acme, "$select=telephone1")).telephone1, null);
  await refused("0x80048d19", web.update(config(), "accounts", acme, { Name: "x" }));
});

await test("retrieveMultiple, retrieveMultipleNextPage", async () => {
  for (let i = 0; i < 3; i++) await web.create(config(), "contacts", { lastname: `${name}${i}` });
  let page = await web.retrieveMultiple(config(), "contacts", `$select=lastname&$filter=startswith(lastname,'${name}')&$orderby=lastname&$count=true`, { maxPageSize: 2 });
  assert.deepEqual([page.value.length, page["@odata.count"], page["@Microsoft.Dynamics.CRM.totalrecordcount"]], [2, 3, 3]);
  page = await web.retrieveMultipleNextPage(config(), page["@odata.nextLink"], { maxPageSize: 2 });
  assert.deepEqual(page.value.map((r) => r.lastname), [name + 2]);
  const xml = `<fetch><entity name="contact"><attribute name="lastname"/><filter><condition attribute="lastname" operator="like" value="${name}_"/></filter></entity></fetch>`;
  assert.equal((await web.retrieveMultiple(config(), "contacts", "fetchXml=" + encodeURIComponent(xml))).value.length, 3);
  await refused("0x80060888", web.retrieveMultiple(config(), "nothing"));
});

await test("associate, disassociate: N:N and single-valued", async () => {
  const linked = async () => (await web.retrieve(config(), "accounts", acme, "$select=name&$expand=contoso_account_contact($select=contactid)")).contoso_account_contact.length;
  await web.associate(config(), "accounts", acme, "contoso_account_contact", "contacts", ann);
  await refused("0x80040237", web.associate(config(), "accounts", acme, "contoso_account_contact", "contacts", ann));
  assert.equal(await linked(), 1);
  await web.disassociate(config(), "accounts", acme, "contoso_account_contact", ann);
  assert.equal(await linked(), 0);
  await web.disassociate(config(), "contacts", ann, "parentcustomerid_account");
  assert.equal((await web.retrieve(config(), "contacts", ann, "$select=_parentcustomerid_value"))._parentcustomerid_value, null);
});

await test("boundAction, unboundAction, boundFunction, unboundFunction", async () => {
  const me = await web.unboundFunction(config(), "WhoAmI");
  assert.match(me.UserId, /^[0-9a-f-]{36}$/);
  const counts = await web.unboundFunction(config(), "RetrieveTotalRecordCount", [{ name: "EntityNames", alias: "p", value: '["account"]' }]);
  assert.equal(counts.EntityRecordCountCollection.Count, 1);
  const rights = await web.boundFunction(config(), "systemusers", me.UserId, "RetrieveUserPrivileges");
  assert.ok(rights.RolePrivileges.length > 10);
  await web.unboundAction(config(), "PublishAllXml");
  assert.equal((await web.unboundAction(config(), "GetNextAutoNumberValue", { EntityName: "contoso_order", AttributeName: "contoso_name" })).NextAutoNumberValue, 1000);
  await refused("", web.boundAction(config(), "accounts", acme, "Nothing", { a: 1 }));
});

await test("batchOperation: change set and reads", async () => {
  const id = randomUUID();
  const answers = await web.batchOperation(config(), randomUUID(), randomUUID(),
    [{ queryString: "accounts", entity: { accountid: id, name: "In a batch" }, method: "POST" }, { queryString: `accounts(${id})`, entity: { telephone1: "3" }, method: "PATCH" }],
    [`accounts(${id})?$select=name,telephone1`, `accounts(${acme})?$select=name`]);
  assert.equal(answers.length, 4);
  assert.deepEqual(answers.map((a) => a.httpStatus ?? 200), [204, 204, 200, 200]);
});

await test("deleteRecord", async () => {
  await web.deleteRecord(config(), "accounts", acme);
  await refused("0x80040217", web.deleteRecord(config(), "accounts", acme));
});

await finish(Object.keys(api).filter((k) => typeof api[k] === "function" && k !== "WebApiConfig"));
