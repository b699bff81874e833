"""Cloud-free NDVI for every pixel from Sentinel-1 radar and sparse Sentinel-2, with error bar."""
