-- Deals, with German numbers and dates.
SELECT
  d.DealNo                                                    AS legacy_key,
  d.Title                                                     AS name,
  CASE WHEN d.CompanyNo IS NOT NULL THEN ref('account', d.CompanyNo)
       ELSE ref('contact', d.PersonNo) END                    AS customerid,
  d.CompanyNo                                                 AS parentaccountid,
  d.PersonNo                                                  AS parentcontactid,
  d.LeadNo                                                    AS originatingleadid,
  -- What is no number stays as it is: staging reports it, with the text.
  replace(replace(d.Value, '.', ''), ',', '.')                AS estimatedvalue,
  false                                                       AS isrevenuesystemcalculated,
  CASE WHEN d.Stage = 'Gewonnen' THEN replace(replace(d.Value, '.', ''), ',', '.') END AS actualvalue,
  existing('transactioncurrency', cur.id)                     AS transactioncurrencyid,
  d.Probability                                               AS closeprobability,
  strptime(d.ExpectedClose, '%d.%m.%Y')::DATE                 AS estimatedclosedate,
  strptime(d.ClosedOn, '%d.%m.%Y')::DATE                      AS actualclosedate,
  CASE d.Need WHEN 'must' THEN 0 WHEN 'should' THEN 1 WHEN 'nice' THEN 2 WHEN 'none' THEN 3 END AS need,
  CASE u.target
    WHEN 'systemuser' THEN existing('systemuser', u.id)
    WHEN 'team' THEN existing('team', u.id)
    ELSE existing('team', 'b0000000-0000-4000-8000-000000000011')
  END                                                         AS ownerid,
  strptime(d.Created, '%d.%m.%Y')                             AS overriddencreatedon,
  s.state                                                     AS statecode,
  s.status                                                    AS statuscode
FROM deals d
LEFT JOIN map_currency cur ON cur.iso = d.Currency
LEFT JOIN map_user u       ON u.login = d.Owner
LEFT JOIN (VALUES ('Offen', 0, 1), ('Pausiert', 0, 2), ('Gewonnen', 1, 3), ('Abgesagt', 2, 4),
                  ('Verloren', 2, 5)) s (text, state, status) ON s.text = d.Stage
