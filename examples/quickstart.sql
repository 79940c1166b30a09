-- What Almagest is for, on the sample that `almagest demo` writes into ./demo.
-- Run it again with: almagest -f examples/quickstart.sql

-- A: an image. The table has a row per pixel, with columns y, x and value; nothing is read yet.
CREATE EXTERNAL TABLE sky STORED AS HDF5 LOCATION 'demo/sky.h5';

-- Its mean and its deviations (stddev is the sample's, stddev_pop is NumPy's std).
SELECT count(*) AS pixels, avg(value) AS mean, stddev(value) AS deviation, stddev_pop(value) AS deviation_pop
FROM sky;

-- A slice: only the chunks that it touches are read.
SELECT count(*) AS pixels, avg(value) AS mean, max(value) AS brightest
FROM sky WHERE y BETWEEN 100 AND 199 AND x < 100;

-- The mean along an axis: the brightest five columns.
SELECT x, avg(value) AS mean FROM sky GROUP BY x ORDER BY mean DESC, x LIMIT 5;

-- Each 512 x 512 block without its own mean: what is left varies less than before.
SELECT stddev_pop(value) AS deviation_pop, stddev_pop(rest) AS deviation_of_the_rest
FROM (SELECT value, value - avg(value) OVER (PARTITION BY y / 512, x / 512) AS rest FROM sky);

-- Smoothed by a Gaussian, as scipy.ndimage does it over the whole image: right at every chunk's edge.
SELECT stddev_pop(smooth) AS smooth, stddev_pop(value - smooth) AS residual,
       count(*) FILTER (WHERE value - smooth > 100) AS sharp_pixels
FROM (SELECT value, gaussian_filter(value, 2.0) AS smooth FROM sky);

-- A corner of it, cleaned by a median, as a picture to look at.
COPY (SELECT y, x, median_filter(value, 3) AS value FROM sky WHERE y < 512 AND x < 512)
TO 'demo/corner.png' STORED AS PNG OPTIONS ('stretch' 'asinh', 'colormap' 'magma');

-- Pixels that stand far out of the noise, and their part of the light.
SELECT count(*) FILTER (WHERE value > 400) AS bright_pixels,
       sum(value) FILTER (WHERE value > 400) / sum(value) AS part_of_the_light
FROM sky;

-- B: a catalog. Eight Parquet files are one table.
CREATE EXTERNAL TABLE toi STORED AS PARQUET LOCATION 'demo/toi/';

-- How long transits take, by the temperature of the star: bins as pandas.cut(right=False).
SELECT cut(stellar_teff, [3000, 4000, 5000, 6000, 7000, 8000]) AS teff, count(*) AS candidates,
       avg(transit_duration_hours) AS mean, stddev(transit_duration_hours) AS deviation
FROM toi GROUP BY teff ORDER BY teff;

-- The exact median, which no partial sum gives.
SELECT cut(stellar_teff, [3000, 4000, 5000, 6000, 7000, 8000]) AS teff,
       median(transit_duration_hours) AS median_hours
FROM toi GROUP BY teff ORDER BY teff;

-- The same by temperature and period.
SELECT cut(stellar_teff, [3000, 5000, 6000, 8000]) AS teff, cut(period_days, [0, 3, 10, 30, 1000]) AS days,
       count(*) AS candidates, median(transit_duration_hours) AS median_hours
FROM toi WHERE stellar_teff >= 3000 AND stellar_teff < 8000 GROUP BY teff, days ORDER BY teff, min(period_days);

-- Files need no table: the longest transits.
SELECT tic_id, transit_duration_hours, period_days FROM 'demo/toi/part-0.parquet'
ORDER BY transit_duration_hours DESC NULLS LAST, tic_id LIMIT 3;
