# Two lines over a logarithmic x axis: gnuplot -c lines.gp DATA.tsv PLOT.svg XLABEL YLABEL
set terminal svg size 600,360 font 'sans-serif,14' background '#ffffff' dynamic
set output ARG2
set datafile separator '\t'
set datafile missing '?'
stats ARG1 using ($1 > 0 ? $1 : NaN) nooutput
set logscale x
set xrange [STATS_min / 1.3 : STATS_max * 1.3]
set xtics ('10' 10, '100' 100, '1,000' 1000, '10,000' 10000, '100,000' 100000, '1,000,000' 1000000)
set yrange [0:*]
set xlabel ARG3
set ylabel ARG4
set grid lc rgb '#dddddd' lw 1
set border 3 lc rgb '#444444'
set tics nomirror
set key outside top center horizontal
set style line 1 lc rgb '#d55e00' lw 2 pt 7 ps 0.6
set style line 2 lc rgb '#0072b2' lw 2 pt 5 ps 0.6
plot ARG1 using 1:2 with linespoints ls 1 title 'mosquitto', \
     ARG1 using 1:3 with linespoints ls 2 title 'midge'
