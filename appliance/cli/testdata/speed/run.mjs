// Sends accounts with dynamics-web-api: CreateMultiple by callAction, several requests at
// once. node run.mjs URL FILE RECORDS BATCH PARALLEL; FILE is the CSV that dvmigrate stages.
import fs from "node:fs";
import { DynamicsWebApi } from "dynamics-web-api";

const [url, file, records, batch, parallel] = process.argv.slice(2);
const api = new DynamicsWebApi({ serverUrl: url, dataApi: { path: "data", version: "9.2" }, onTokenRefresh: async () => "test" });
const lines = fs.readFileSync(file, "utf8").split("\n");
const target = (line, i) => {
  const v = line.split(",");
  return {
    "@odata.type": "Microsoft.Dynamics.CRM.account",
    accountid: "00000000-0000-4000-8000-" + String(i).padStart(12, "0"),
    accountnumber: v[0], name: v[1], telephone1: v[2], emailaddress1: v[3], address1_line1: v[4], address1_city: v[5],
    address1_postalcode: v[6], address1_country: v[7], numberofemployees: +v[8], revenue: +v[9],
    creditonhold: v[10] === "true", overriddencreatedon: v[11].replace(" ", "T") + "Z",
  };
};
let next = 0;
const worker = async () => {
  while (next < +records) {
    const from = next, to = (next = Math.min(next + +batch, +records));
    const Targets = [];
    for (let i = from; i < to; i++) Targets.push(target(lines[i + 1], i));
    const answer = await api.callAction({ collection: "accounts", actionName: "Microsoft.Dynamics.CRM.CreateMultiple", action: { Targets } });
    if (answer.Ids.length !== to - from) throw new Error(`${answer.Ids.length} ids`);
  }
};
const began = performance.now();
await Promise.all(Array.from({ length: +parallel }, worker));
console.log(JSON.stringify({ seconds: (performance.now() - began) / 1000 }));
