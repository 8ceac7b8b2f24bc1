// odata-csdl, the reader of OASIS for CSDL, reads the emulator's $metadata: what it
// has no complaint about, other clients of OData can make code from.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { suite } from "./tap.mjs";

const csdl = createRequire(import.meta.url)("odata-csdl");
const { test } = suite("odata-csdl");
// ConcurrencyMode is of an older version of OData, but is in the service's own documents.
const load = async (query) => {
  const answer = await fetch(process.env.EMULATOR_URL + "/api/data/v9.2/$metadata" + query, { headers: { Authorization: "Bearer csdl" } });
  const text = (await answer.text()).replaceAll(/ ConcurrencyMode="\w+"/g, "");
  return csdl.xml2json(text, { strict: true })["Microsoft.Dynamics.CRM"]; // a complaint is thrown
};

await test("it has nothing to complain of", async () => {
  for (const query of ["", "?annotations=true"]) assert.ok(await load(query));
});

await test("tables, columns, lookups and collections", async () => {
  const crm = await load("");
  assert.equal(crm.account.$BaseType, "mscrm.crmbaseentity");
  assert.deepEqual(crm.account.$Key, ["accountid"]);
  assert.equal(crm.account._primarycontactid_value.$Type, "Edm.Guid");
  assert.equal(crm.account.primarycontactid.$Type, "mscrm.contact");
  assert.equal(crm.account.contact_customer_accounts.$Collection, true);
  assert.equal(crm.System.accounts.$Type, "mscrm.account");
});

await test("actions and functions", async () => {
  const crm = await load("");
  assert.equal(crm.CreateMultiple[0].$IsBound, true);
  assert.equal(crm.WhoAmI[0].$ReturnType.$Type, "mscrm.WhoAmIResponse");
  assert.equal(crm.System.BulkDelete.$Action, "mscrm.BulkDelete");
});
