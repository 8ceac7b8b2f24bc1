-- Articles. Units and unit group are in the target already.
SELECT
  a.ArtNo                                                     AS legacy_key,
  a.ArtNo                                                     AS productnumber,
  a.Name                                                      AS name,
  CASE a.Kind WHEN 'service' THEN 3 ELSE 1 END                AS producttypecode,
  1                                                           AS productstructure,
  existing('uomschedule', 'd0000000-0000-4000-8000-000000000001') AS defaultuomscheduleid,
  existing('uom', CASE a.Unit
    WHEN 'H'    THEN 'd1000000-0000-4000-8000-000000000002'
    WHEN 'VE10' THEN 'd1000000-0000-4000-8000-000000000003'
    ELSE             'd1000000-0000-4000-8000-000000000001' END) AS defaultuomid,
  2                                                           AS quantitydecimal,
  a.Price                                                     AS price,
  existing('transactioncurrency', cur.id)                     AS transactioncurrencyid,
  a.Stock                                                     AS quantityonhand,
  a.Weight                                                    AS stockweight,
  a.Supplier                                                  AS suppliername,
  a.Description                                               AS description,
  CASE a.Discontinued WHEN 'yes' THEN 1 ELSE 0 END            AS statecode,
  CASE a.Discontinued WHEN 'yes' THEN 2 ELSE 1 END            AS statuscode
FROM articles a
LEFT JOIN map_currency cur ON cur.iso = a.Currency
