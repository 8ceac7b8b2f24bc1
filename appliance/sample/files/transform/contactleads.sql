-- Which person is interested in which lead: an N:N relationship. The file has the
-- name of its intersect table; its two columns carry the keys of the two ends.
SELECT
  PersonNo || '/' || LeadNo AS legacy_key,
  PersonNo                  AS contactid,
  LeadNo                    AS leadid
FROM person_leads
