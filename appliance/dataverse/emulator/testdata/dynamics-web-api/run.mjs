// Every request function of dynamics-web-api, a client that nobody here wrote,
// against the emulator at EMULATOR_URL. Prints TAP; exits 1 when a test failed or a
// function of the library was never called.
import { DynamicsWebApi } from "dynamics-web-api";
import { randomUUID } from "node:crypto";
import assert from "node:assert/strict";

const serverUrl = process.env.EMULATOR_URL;
const called = new Set();

// watched notes which functions are called.
function watched(api) {
  return new Proxy(api, {
    get(target, name) {
      const value = target[name];
      if (typeof value !== "function") return value;
      called.add(name);
      return value;
    },
  });
}

const config = { serverUrl, onTokenRefresh: async () => "node" };
const api = watched(new DynamicsWebApi(config));

let n = 0, failed = 0;
async function test(name, fn) {
  n++;
  try {
    await fn();
    console.log(`ok ${n} - ${name}`);
  } catch (e) {
    failed++;
    console.log(`not ok ${n} - ${name}`);
    console.log(String(e.stack ?? JSON.stringify(e)).replace(/^/gm, "# "));
    if (e.status) console.log(`# status ${e.status} code ${e.code} ${e.message}`);
  }
}

async function refused(status, code, promise) {
  try {
    await promise;
  } catch (e) {
    assert.equal(e.status, status, e.message);
    if (code) assert.equal(e.code.toLowerCase(), code.toLowerCase());
    return e;
  }
  assert.fail(`not refused; ${status} ${code} expected`);
}

const label = (text) => ({
  "@odata.type": "Microsoft.Dynamics.CRM.Label",
  LocalizedLabels: [{ "@odata.type": "Microsoft.Dynamics.CRM.LocalizedLabel", Label: text, LanguageCode: 1033 }],
});
const annotations = "*";
let acme, nord, ann, assetMeta, columnMeta, relationMeta, choiceMeta, asset;

await test("callFunction: WhoAmI, RetrieveVersion and one with parameters", async () => {
  const me = await api.callFunction("WhoAmI");
  assert.match(me.UserId, /^[0-9a-f-]{36}$/);
  assert.match((await api.callFunction({ functionName: "RetrieveVersion" })).Version, /^9\.2\./);
  const counts = await api.callFunction({ name: "RetrieveTotalRecordCount", parameters: { EntityNames: ["account"] } });
  assert.deepEqual(counts.EntityRecordCountCollection.Keys, ["account"]);
});

await test("create: an id, a chosen id, a bind, a representation", async () => {
  acme = await api.create({ collection: "accounts", data: { name: "Acme", revenue: 1000.5, accountcategorycode: 1 } });
  assert.match(acme, /^[0-9a-f-]{36}$/);
  nord = randomUUID();
  assert.equal(await api.create({ collection: "accounts", data: { accountid: nord, name: "Nord", "parentaccountid@odata.bind": `accounts(${acme})` } }), nord);
  const row = await api.create({
    collection: "contacts", returnRepresentation: true, select: ["fullname"],
    data: { firstname: "Ann", lastname: "Ek", emailaddress1: "ann@example.com", "parentcustomerid_account@odata.bind": `/accounts(${acme})` },
  });
  ann = row.contactid;
  assert.equal(row.fullname, "Ann Ek");
  await refused(412, "0x80040237", api.create({ collection: "accounts", data: { accountid: nord } }));
  await refused(400, "0x80048d19", api.create({ collection: "accounts", data: { nonsense: 1 } }));
});

await test("create: deep insert, read back with expand", async () => {
  const id = await api.create({ collection: "accounts", data: { name: "Deep", primarycontactid: { lastname: "Below" }, account_parent_account: [{ name: "Child" }] } });
  const row = await api.retrieve({
    collection: "accounts", key: id, select: ["name"],
    expand: [{ property: "primarycontactid", select: ["lastname"] }, { property: "account_parent_account", select: ["name"] }],
  });
  assert.equal(row.primarycontactid.lastname, "Below");
  assert.equal(row.account_parent_account[0].name, "Child");
});

await test("retrieve: by key, by alternate key, annotations, etag, reference", async () => {
  const row = await api.retrieve({ collection: "contacts", key: ann, select: ["fullname", "_parentcustomerid_value"], includeAnnotations: annotations });
  assert.equal(row._parentcustomerid_value, acme);
  assert.equal(row._parentcustomerid_value_Formatted, "Acme");
  assert.equal(row._parentcustomerid_value_LogicalName, "account");
  assert.equal(row._parentcustomerid_value_NavigationProperty, "parentcustomerid_account");
  const byKey = await api.retrieve({ collection: "contacts", key: "firstname='Ann',emailaddress1='ann@example.com'", select: ["lastname"] });
  assert.equal(byKey.contactid, ann);
  const etag = byKey["@odata.etag"];
  assert.equal(await api.retrieve({ collection: "contacts", key: ann, select: ["lastname"], ifnonematch: etag }), undefined);
  const ref = await api.retrieve({ collection: "contacts", key: ann, select: ["parentcustomerid_account/$ref"] });
  assert.deepEqual([ref.collection, ref.id], ["accounts", acme]);
  const parent = await api.retrieve({ collection: "contacts", key: ann, select: ["/parentcustomerid_account", "name"] });
  assert.equal(parent.name, "Acme");
  await refused(404, "0x80040217", api.retrieve({ collection: "contacts", key: randomUUID() }));
});

await test("update: plain, with representation, stale and missing", async () => {
  assert.equal(await api.update({ collection: "accounts", key: acme, data: { name: "Acme Inc", description: "täglich ✓" } }), true);
  const row = await api.update({ collection: "accounts", key: acme, data: { telephone1: "1" }, returnRepresentation: true, select: ["telephone1", "description"] });
  assert.deepEqual([row.telephone1, row.description], ["1", "täglich ✓"]);
  assert.equal(await api.update({ collection: "accounts", key: acme, data: { name: "No" }, ifmatch: 'W/"1"' }), false);
  await refused(404, "0x80040217", api.update({ collection: "accounts", key: randomUUID(), data: { name: "x" } }));
});

await test("updateSingleProperty", async () => {
  await api.updateSingleProperty({ collection: "accounts", key: acme, fieldValuePair: { name: "Acme AG" } });
  assert.equal((await api.retrieve({ collection: "accounts", key: acme, select: ["name"] })).name, "Acme AG");
});

await test("upsert: creates, updates, create only, update only", async () => {
  const id = randomUUID();
  assert.equal(await api.upsert({ collection: "accounts", key: id, data: { name: "Up" } }), id);
  assert.equal(await api.upsert({ collection: "accounts", key: id, data: { name: "Up 2" } }), id);
  assert.equal(await api.upsert({ collection: "accounts", key: id, data: { name: "No" }, ifnonematch: "*" }), null);
  assert.equal(await api.upsert({ collection: "accounts", key: randomUUID(), data: { name: "No" }, ifmatch: "*" }), null);
  const row = await api.upsert({ collection: "accounts", key: "accountnumber='A-1'", data: { name: "By key" }, returnRepresentation: true });
  assert.deepEqual([row.accountnumber, row.name], ["A-1", "By key"]);
});

await test("deleteRecord: a row, a property, a stale etag", async () => {
  const id = await api.create({ collection: "accounts", data: { name: "Gone", telephone1: "2" } });
  await api.deleteRecord({ collection: "accounts", key: id, property: "telephone1" });
  assert.equal((await api.retrieve({ collection: "accounts", key: id, select: ["telephone1"] })).telephone1, null);
  assert.equal(await api.deleteRecord({ collection: "accounts", key: id, ifmatch: 'W/"1"' }), false);
  await api.deleteRecord({ collection: "accounts", key: id });
  await refused(404, "0x80040217", api.deleteRecord({ collection: "accounts", key: id }));
});

await test("retrieveMultiple and its pages; retrieveAll; count; countAll", async () => {
  const page = await api.retrieveMultiple({ collection: "accounts", select: ["name"], orderBy: ["name desc"], maxPageSize: 3, count: true });
  assert.equal(page.value.length, 3);
  const next = await api.retrieveMultiple({ collection: "accounts", maxPageSize: 3 }, page.oDataNextLink);
  assert.ok(next.value.length > 0 && next.value[0].name <= page.value[2].name);
  const all = await api.retrieveAll({ collection: "accounts", select: ["name"], maxPageSize: 2 });
  assert.equal(all.value.length, page.oDataCount);
  assert.equal(await api.count({ collection: "accounts" }), page.oDataCount);
  assert.equal(await api.count({ collection: "accounts", filter: "startswith(name,'Acme')" }), 1);
  assert.equal(await api.countAll({ collection: "accounts", filter: "contains(name,'p')" , maxPageSize: 1 }) > 0, true);
  const grouped = await api.retrieveMultiple({ collection: "accounts", apply: "groupby((statecode),aggregate($count as n))" });
  assert.equal(grouped.value[0].n, page.oDataCount);
});

await test("retrieveMultiple: change tracking", async () => {
  const first = await api.retrieveAll({ collection: "accounts", select: ["name"], trackChanges: true });
  assert.ok(first.oDataDeltaLink);
  await api.update({ collection: "accounts", key: nord, data: { name: "Nord AG" } });
  const delta = await api.retrieveMultiple({ collection: "accounts" }, first.oDataDeltaLink);
  assert.deepEqual(delta.value.map((r) => r.name), ["Nord AG"]);
});

await test("fetch and fetchAll", async () => {
  const fetchXml = `<fetch count="2"><entity name="account"><attribute name="name"/><order attribute="name"/>
    <link-entity name="contact" from="contactid" to="primarycontactid" alias="pc" link-type="outer"><attribute name="lastname"/></link-entity></entity></fetch>`;
  const one = await api.fetch({ collection: "accounts", fetchXml, includeAnnotations: annotations });
  assert.equal(one.value.length, 2);
  assert.equal(one.PagingInfo.nextPage, 2);
  const two = await api.fetch({ collection: "accounts", fetchXml, includeAnnotations: annotations, pageNumber: 2, pagingCookie: one.PagingInfo.cookie });
  assert.ok(two.value.length > 0 && two.value[0].name >= one.value[1].name);
  const all = await api.fetchAll({ collection: "accounts", fetchXml, includeAnnotations: annotations });
  assert.equal(all.value.length, await api.count({ collection: "accounts" }));
});

await test("associate, disassociate: N:N and 1:N", async () => {
  const pair = { collection: "accounts", primaryKey: acme, relationshipName: "contoso_account_contact", relatedCollection: "contacts", relatedKey: ann };
  await api.associate(pair);
  const row = await api.retrieve({ collection: "accounts", key: acme, select: ["name"], expand: [{ property: "contoso_account_contact", select: ["lastname"] }] });
  assert.equal(row.contoso_account_contact[0].contactid, ann);
  await refused(412, "0x80040237", api.associate(pair));
  await api.disassociate(pair);
  await api.associate({ collection: "accounts", primaryKey: nord, relationshipName: "account_parent_account", relatedCollection: "accounts", relatedKey: acme });
  assert.equal((await api.retrieve({ collection: "accounts", key: acme, select: ["_parentaccountid_value"] }))._parentaccountid_value, nord);
  await api.disassociate({ collection: "accounts", primaryKey: nord, relationshipName: "account_parent_account", relatedKey: acme });
});

await test("associateSingleValued, disassociateSingleValued", async () => {
  await api.associateSingleValued({ collection: "accounts", primaryKey: acme, navigationProperty: "primarycontactid", relatedCollection: "contacts", relatedKey: ann });
  const row = async () => (await api.retrieve({ collection: "accounts", key: acme, select: ["_primarycontactid_value"] }))._primarycontactid_value;
  assert.equal(await row(), ann);
  await api.disassociateSingleValued({ collection: "accounts", primaryKey: acme, navigationProperty: "primarycontactid" });
  assert.equal(await row(), null);
});

await test("callAction: bulk actions", async () => {
  const type = "Microsoft.Dynamics.CRM.account";
  const made = await api.callAction({ collection: "accounts", actionName: "Microsoft.Dynamics.CRM.CreateMultiple",
    action: { Targets: [1, 2, 3].map((i) => ({ "@odata.type": type, name: `Bulk ${i}`, "parentaccountid@odata.bind": `accounts(${acme})` })) } });
  assert.equal(made.Ids.length, 3);
  await api.callAction({ collection: "accounts", actionName: "Microsoft.Dynamics.CRM.UpdateMultiple",
    action: { Targets: made.Ids.map((accountid) => ({ "@odata.type": type, accountid, telephone1: "9" })) } });
  await api.callAction({ collection: "accounts", actionName: "Microsoft.Dynamics.CRM.UpsertMultiple",
    action: { Targets: [{ "@odata.type": type, "@odata.id": "accounts(accountnumber='A-1')", name: "By key again" }, { "@odata.type": type, name: "Bulk 4" }] } });
  assert.equal(await api.count({ collection: "accounts", filter: "startswith(name,'Bulk') and (telephone1 eq '9' or telephone1 eq null)" }), 4);
  assert.equal((await api.retrieve({ collection: "accounts", key: "accountnumber='A-1'", select: ["name"] })).name, "By key again");
  await refused(501, "0x80040219", api.callAction({ collection: "accounts", actionName: "Microsoft.Dynamics.CRM.DeleteMultiple",
    action: { Targets: [{ "@odata.type": type, accountid: made.Ids[0] }] } }));
});

await test("startBatch, executeBatch: change set with references, reads, an error", async () => {
  api.startBatch();
  api.create({ collection: "accounts", data: { name: "In a batch" }, contentId: "1", inChangeSet: true });
  api.create({ collection: "contacts", data: { lastname: "Batch", "parentcustomerid_account@odata.bind": "$1" }, inChangeSet: true });
  api.retrieveMultiple({ collection: "contacts", select: ["lastname"], filter: "lastname eq 'Batch'", expand: [{ property: "parentcustomerid_account", select: ["name"] }] });
  api.count({ collection: "accounts" });
  const [account, contact, rows, count] = await api.executeBatch();
  assert.match(account, /^[0-9a-f-]{36}$/);
  assert.match(contact, /^[0-9a-f-]{36}$/);
  assert.equal(rows.value[0].parentcustomerid_account.name, "In a batch");
  assert.ok(count > 4);
  api.startBatch();
  api.create({ collection: "accounts", data: { accountid: acme }, inChangeSet: false });
  api.create({ collection: "accounts", data: { name: "After the error" }, inChangeSet: false });
  const results = await api.executeBatch({ continueOnError: true });
  assert.equal(results[0].status, 412);
  assert.match(results[1], /^[0-9a-f-]{36}$/);
  api.startBatch();
  api.create({ collection: "accounts", data: { accountid: acme }, inChangeSet: false });
  await assert.rejects(api.executeBatch());
});

await test("a long URL becomes a batch of its own", async () => {
  const names = Array.from({ length: 90 }, (_, i) => `name eq 'a rather long name, number ${i}'`).join(" or ");
  const rows = await api.retrieveMultiple({ collection: "accounts", select: ["name"], filter: names });
  assert.deepEqual(rows.value, []);
});

await test("createGlobalOptionSet, retrieveGlobalOptionSet(s), updateGlobalOptionSet", async () => {
  choiceMeta = await api.createGlobalOptionSet({ data: {
    "@odata.type": "Microsoft.Dynamics.CRM.OptionSetMetadata", Name: "contoso_tier", OptionSetType: "Picklist", IsGlobal: true, DisplayName: label("Tier"),
    Options: [{ Value: 100000000, Label: label("Gold") }, { Value: 100000001, Label: label("Silver") }] } });
  const one = await api.retrieveGlobalOptionSet({ key: choiceMeta });
  assert.deepEqual([one.Name, one.Options.length], ["contoso_tier", 2]);
  one.DisplayName = label("Tier of a customer");
  one.Options.push({ Value: 100000002, Label: label("Bronze") });
  await api.updateGlobalOptionSet({ data: one });
  const cast = "Microsoft.Dynamics.CRM.OptionSetMetadata";
  assert.equal((await api.retrieveGlobalOptionSet({ key: "Name='contoso_tier'", castType: cast, select: ["Options"] })).Options.length, 3);
  assert.ok((await api.retrieveGlobalOptionSets({ castType: cast, select: ["Name"] })).value.some((o) => o.Name === "contoso_tier"));
});

await test("createEntity, retrieveEntity, retrieveEntities, updateEntity", async () => {
  assetMeta = await api.createEntity({ data: {
    "@odata.type": "Microsoft.Dynamics.CRM.EntityMetadata", SchemaName: "contoso_Asset", DisplayName: label("Asset"), DisplayCollectionName: label("Assets"),
    OwnershipType: "UserOwned", HasActivities: false, HasNotes: true, IsActivity: false,
    Attributes: [{ "@odata.type": "Microsoft.Dynamics.CRM.StringAttributeMetadata", SchemaName: "contoso_Name", IsPrimaryName: true, MaxLength: 80,
      FormatName: { Value: "Text" }, DisplayName: label("Name"), RequiredLevel: { Value: "None" } }] } });
  const entity = await api.retrieveEntity({ key: assetMeta, expand: [{ property: "Attributes", select: ["LogicalName"] }] });
  assert.deepEqual([entity.LogicalName, entity.EntitySetName, entity.PrimaryNameAttribute], ["contoso_asset", "contoso_assets", "contoso_name"]);
  assert.ok(entity.Attributes.some((a) => a.LogicalName === "statuscode"));
  assert.ok((await api.retrieveEntities({ select: ["LogicalName"], filter: "IsCustomEntity eq true" })).value.some((e) => e.LogicalName === "contoso_asset"));
  await api.updateEntity({ data: { ...(await api.retrieveEntity({ key: assetMeta })), DisplayName: label("Asset (new)") }, mergeLabels: true });
  const changed = await api.retrieveEntity({ key: "LogicalName='contoso_asset'", select: ["DisplayName"] });
  assert.equal(changed.DisplayName.UserLocalizedLabel.Label, "Asset (new)");
});

await test("createAttribute, retrieveAttribute(s), updateAttribute", async () => {
  const base = { DisplayName: label("X"), RequiredLevel: { Value: "None" } };
  const kinds = {
    contoso_Count: { type: "Integer", MinValue: 0, MaxValue: 100 }, contoso_Rate: { type: "Decimal", Precision: 3, MinValue: 0, MaxValue: 10 },
    contoso_Price: { type: "Money", PrecisionSource: 2 }, contoso_Day: { type: "DateTime", Format: "DateOnly", DateTimeBehavior: { Value: "DateOnly" } },
    contoso_Notes: { type: "Memo", MaxLength: 500 }, contoso_On: { type: "Boolean", DefaultValue: true, OptionSet: { TrueOption: { Value: 1, Label: label("On") }, FalseOption: { Value: 0, Label: label("Off") } } },
    contoso_Tier: { type: "Picklist", "GlobalOptionSet@odata.bind": `/GlobalOptionSetDefinitions(${choiceMeta})` },
    contoso_Size: { type: "Picklist", OptionSet: { IsGlobal: false, OptionSetType: "Picklist", Options: [{ Value: 1, Label: label("S") }, { Value: 2, Label: label("L") }] } },
    contoso_File: { type: "File", MaxSizeInKB: 32768 }, contoso_Code: { type: "String", MaxLength: 20 },
  };
  for (const [SchemaName, { type, ...more }] of Object.entries(kinds)) {
    const id = await api.createAttribute({ entityKey: "LogicalName='contoso_asset'", data: { "@odata.type": `Microsoft.Dynamics.CRM.${type}AttributeMetadata`, SchemaName, ...base, ...more } });
    if (SchemaName === "contoso_Code") columnMeta = id;
  }
  const cast = "Microsoft.Dynamics.CRM.StringAttributeMetadata";
  const code = await api.retrieveAttribute({ entityKey: assetMeta, attributeKey: columnMeta, castType: cast });
  assert.deepEqual([code.LogicalName, code.MaxLength], ["contoso_code", 20]);
  code.MaxLength = 30;
  await api.updateAttribute({ entityKey: assetMeta, data: code, castType: cast });
  const strings = await api.retrieveAttributes({ entityKey: "LogicalName='contoso_asset'", castType: cast, select: ["LogicalName", "MaxLength"] });
  assert.equal(strings.value.find((a) => a.LogicalName === "contoso_code").MaxLength, 30);
  const choices = await api.retrieveAttributes({ entityKey: assetMeta, castType: "Microsoft.Dynamics.CRM.PicklistAttributeMetadata", expand: [{ property: "GlobalOptionSet" }, { property: "OptionSet" }] });
  assert.equal(choices.value.find((a) => a.LogicalName === "contoso_tier").GlobalOptionSet.Options.length, 3);
  await refused(400, "0x8004f01f", api.deleteGlobalOptionSet({ key: choiceMeta }));
});

await test("createRelationship, retrieveRelationship(s), updateRelationship", async () => {
  const cast = "Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata";
  relationMeta = await api.createRelationship({ data: { "@odata.type": cast, SchemaName: "contoso_account_asset", ReferencedEntity: "account", ReferencedAttribute: "accountid",
    ReferencingEntity: "contoso_asset", CascadeConfiguration: { Assign: "NoCascade", Delete: "RemoveLink" },
    Lookup: { "@odata.type": "Microsoft.Dynamics.CRM.LookupAttributeMetadata", SchemaName: "contoso_AccountId", DisplayName: label("Account"), RequiredLevel: { Value: "None" } } } });
  await api.createRelationship({ data: { "@odata.type": "Microsoft.Dynamics.CRM.ManyToManyRelationshipMetadata", SchemaName: "contoso_asset_contact",
    IntersectEntityName: "contoso_asset_contact", Entity1LogicalName: "contoso_asset", Entity2LogicalName: "contact" } });
  const one = await api.retrieveRelationship({ key: relationMeta, castType: cast });
  assert.equal(one.ReferencingEntityNavigationPropertyName, "contoso_AccountId");
  one.CascadeConfiguration.Delete = "Cascade";
  await api.updateRelationship({ data: one, castType: cast });
  assert.equal((await api.retrieveRelationship({ key: "SchemaName='contoso_account_asset'", castType: cast })).CascadeConfiguration.Delete, "Cascade");
  const many = await api.retrieveRelationships({ castType: "Microsoft.Dynamics.CRM.ManyToManyRelationshipMetadata", select: ["SchemaName"] });
  assert.ok(many.value.some((r) => r.SchemaName === "contoso_asset_contact"));
});

await test("rows of the new table: every column, the new relationships", async () => {
  asset = await api.create({ collection: "contoso_assets", data: { contoso_name: "Crane", contoso_count: 5, contoso_rate: 1.25, contoso_price: 99.5, contoso_day: "2024-05-31",
    contoso_notes: "a\nb", contoso_tier: 100000002, contoso_size: 2, contoso_code: "x".repeat(30), "contoso_AccountId@odata.bind": `accounts(${acme})` } });
  const row = await api.retrieve({ collection: "contoso_assets", key: asset, includeAnnotations: annotations });
  assert.deepEqual([row.contoso_count, row.contoso_rate, row.contoso_price, row.contoso_on, row.contoso_tier_Formatted, row._contoso_accountid_value, row.statecode],
    [5, 1.25, 99.5, true, "Bronze", acme, 0]);
  await api.associate({ collection: "contoso_assets", primaryKey: asset, relationshipName: "contoso_asset_contact", relatedCollection: "contacts", relatedKey: ann });
  await refused(400, "0x80044330", api.update({ collection: "contoso_assets", key: asset, data: { contoso_count: 101 } }));
  await refused(400, "0x8004431A", api.update({ collection: "contoso_assets", key: asset, data: { contoso_size: 3 } }));
});

await test("uploadFile, downloadFile", async () => {
  assert.equal((await api.retrieve({ collection: "contoso_assets", key: asset, select: ["contoso_file"] })).contoso_file, null);
  const data = Buffer.alloc(5 * 1024 * 1024 + 17, 0);
  for (let i = 0; i < data.length; i++) data[i] = (i * 31) & 255;
  await api.uploadFile({ collection: "contoso_assets", key: asset, property: "contoso_file", fileName: "crane.bin", data });
  const file = await api.downloadFile({ collection: "contoso_assets", key: asset, property: "contoso_file" });
  assert.equal(file.fileName, "crane.bin");
  assert.equal(file.fileSize, data.length);
  assert.ok(data.equals(Buffer.from(file.data)));
  assert.equal((await api.retrieve({ collection: "contoso_assets", key: asset, select: ["contoso_file_name"] })).contoso_file_name, "crane.bin");
  await api.deleteRecord({ collection: "contoso_assets", key: asset, property: "contoso_file" });
  assert.equal((await api.retrieve({ collection: "contoso_assets", key: asset, select: ["contoso_file"] })).contoso_file, null);
});

await test("retrieveCsdlMetadata", async () => {
  const xml = await api.retrieveCsdlMetadata({ addAnnotations: true });
  assert.match(xml, /<EntityType Name="contoso_asset"/);
  assert.match(xml, /<NavigationProperty Name="contoso_AccountId"/);
});

await test("deleteRelationship, deleteGlobalOptionSet", async () => {
  await api.deleteRelationship({ key: relationMeta });
  await refused(400, "", api.retrieve({ collection: "contoso_assets", key: asset, select: ["_contoso_accountid_value"] }));
  assert.equal((await api.retrieve({ collection: "contoso_assets", key: asset, select: ["contoso_name"] })).contoso_name, "Crane");
  const unused = await api.createGlobalOptionSet({ data: { "@odata.type": "Microsoft.Dynamics.CRM.OptionSetMetadata", Name: "contoso_unused", Options: [] } });
  await api.deleteGlobalOptionSet({ key: unused });
  await refused(404, "", api.retrieveGlobalOptionSet({ key: unused }));
});

for (const version of ["1.0", "2.0"]) {
  const searching = watched(new DynamicsWebApi({ ...config, searchApi: { version } }));
  await test(`search service ${version}: query, search, suggest, autocomplete`, async () => {
    const query = { search: "acme", entities: ["account"], top: 5, count: true };
    for (const fn of ["query", "search"]) {
      const result = await searching[fn]({ query: { ...query } });
      const value = version === "2.0" ? result.response.Value : result.value;
      assert.equal(value.length, 1);
      assert.equal(version === "2.0" ? value[0].Id : value[0]["@search.objectid"], acme);
    }
    const s = await searching.suggest({ query: { search: "acm" } });
    assert.ok((version === "2.0" ? s.response.Value : s.value).length > 0);
    const a = await searching.autocomplete({ query: { search: "acm" } });
    assert.match(version === "2.0" ? a.response.Value : a.value, /\{acm\}e/);
  });
}

await test("respond-async: getBackgroundOperationStatus, cancelBackgroundOperation", async () => {
  const op = await api.callAction({ actionName: "contoso_Recalculate", respondAsync: true });
  assert.match(op.location, new RegExp(op.backgroundOperationId));
  assert.equal((await api.getBackgroundOperationStatus(op.backgroundOperationId)).backgroundOperationStatusCode, 20);
  assert.equal((await api.cancelBackgroundOperation(op.backgroundOperationId)).backgroundOperationStatusCode, 32);
  await refused(404, "", api.getBackgroundOperationStatus(randomUUID()));
});

await test("setConfig, initializeInstance, impersonate, duplicate detection and bypass headers, Utility", async () => {
  const me = (await api.callFunction("WhoAmI")).UserId;
  const other = watched(api.initializeInstance());
  other.setConfig({ impersonate: me, includeAnnotations: "OData.Community.Display.V1.FormattedValue", returnRepresentation: true, useEntityNames: true });
  const row = await other.create({ collection: "account", data: { name: "Impersonated", accountcategorycode: 2 }, bypassCustomPluginExecution: true, duplicateDetection: true, noCache: true, tag: "x" });
  assert.equal(row.accountcategorycode_Formatted, "Standard");
  assert.equal(api.Utility.toAbsoluteUrl("accounts"), `${serverUrl}/api/data/v9.2/accounts`);
  assert.equal(api.Utility.getCollectionName("account"), "accounts");
  await refused(403, "0x80072560", api.retrieveMultiple({ collection: "accounts", impersonate: randomUUID() }));
});

await test("errors keep what the service says", async () => {
  const e = await refused(400, "0x80044331", api.create({ collection: "accounts", data: { name: "x".repeat(161) } }));
  assert.match(e.message, /exceeded the maximum allowed length of '160'/);
  await refused(404, "0x80060888", api.retrieveMultiple({ collection: "nonsense" }));
  await refused(401, "", api.retrieveMultiple({ collection: "accounts", token: "expired" }));
});

await test("every request function of the library was called", async () => {
  const all = Object.keys(new DynamicsWebApi(config)).filter((k) => typeof api[k] === "function");
  assert.ok(all.length >= 46, `${all.length} functions`);
  const before = new Set(called);
  for (const name of all) api[name];
  assert.deepEqual(all.filter((name) => !before.has(name)), []);
});

console.log(`1..${n}`);
console.log(`${n - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
